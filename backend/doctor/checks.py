"""Every check in order, and what makes one of them needless."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tagalong.backend.doctor import (
    backend_connection,
    backend_responses,
    prelabeling,
    project,
    reachability,
    stored_predictions,
    tabs,
    version_and_labels,
    webhooks,
)
from tagalong.backend.doctor.context import DoctorContext, DoctorOptions
from tagalong.backend.doctor.finding import (
    CheckResult,
    DoctorFinding,
    format_sentence,
    problem,
    skipped,
)
from tagalong.ner.errors import TagalongError

TIME_LIMIT_SECONDS: Final = 180.0  # seconds after which no further check is begun


@dataclass(frozen=True, slots=True)
class DoctorCheck:
    """One thing that is looked into.

    Attributes:
        name: Stays the same from release to release.
        title: What it looks at, for people.
        run: Does it.
        requires: Checks without which it cannot be done: a problem there, or skipping it, skips it.
        explained_by: Checks whose problem is the cause of one that this finds, which is then not
            told as another.
        mend: Removes a problem that this finds, and checks again; None where only people can.
    """

    name: str
    title: str
    run: Callable[[DoctorContext], CheckResult]
    requires: tuple[str, ...] = ()
    explained_by: tuple[str, ...] = ()
    mend: Callable[[DoctorContext], CheckResult] | None = None


CHECKS: Final = (
    DoctorCheck("label_studio", "Label Studio", reachability.check_label_studio),
    DoctorCheck("key", "Key", reachability.check_key, requires=("label_studio",)),
    DoctorCheck("project", "Project", reachability.check_project, requires=("key",)),
    DoctorCheck("config", "Labelling config", project.check_label_config, requires=("project",)),
    DoctorCheck("tasks", "Tasks", project.check_tasks, requires=("config",)),
    DoctorCheck(
        "tabs", "Data Manager", tabs.check_tabs, requires=("project",), mend=tabs.mend_tabs
    ),
    DoctorCheck(
        "connected", "ML backend", backend_connection.check_connected, requires=("project",)
    ),
    DoctorCheck(
        "network", "Network switches", backend_connection.check_network, requires=("project",)
    ),
    DoctorCheck(
        "answers", "Backend (from here)", backend_responses.check_reachable, requires=("project",)
    ),
    DoctorCheck("auth", "User and password", backend_responses.check_auth, requires=("answers",)),
    DoctorCheck(
        "setup", "Setup", backend_responses.check_setup, requires=("answers", "auth", "config")
    ),
    DoctorCheck(
        "predict", "One prediction", backend_responses.check_predict, requires=("setup", "tasks")
    ),
    DoctorCheck("times", "Time budgets", backend_responses.check_latency, requires=("answers",)),
    DoctorCheck(
        "state",
        "Backend (from Label Studio)",
        backend_connection.check_backend_state,
        requires=("connected",),
        explained_by=("config", "network", "answers", "auth", "setup", "times"),
    ),
    DoctorCheck("shown", "Pre-labelling", prelabeling.check_prelabeling, requires=("project",)),
    DoctorCheck(
        "version",
        "Version",
        version_and_labels.check_version,
        requires=("connected",),
        explained_by=("setup", "state", "shown"),
    ),
    DoctorCheck(
        "labels", "Labels", version_and_labels.check_labels, requires=("config", "answers")
    ),
    DoctorCheck("webhook", "Webhook", webhooks.check_webhook, requires=("connected",)),
    DoctorCheck(
        "validation",
        "Prediction validation",
        stored_predictions.check_validation,
        requires=("config",),
    ),
    DoctorCheck(
        "stored",
        "Stored predictions",
        stored_predictions.check_stored_versions,
        requires=("project",),
    ),
)

_CHECKS_BY_NAME: Final = {check.name: check for check in CHECKS}


def run_checks(
    options: DoctorOptions, *, fix: bool = False, time_limit_seconds: float = TIME_LIMIT_SECONDS
) -> Iterator[DoctorFinding]:
    """Say in order what is wrong, and ask the backend what Label Studio asks it.

    Args:
        options: What to look at.
        fix: Mend what a check can mend. Without it nothing is changed.
        time_limit_seconds: Seconds after which the checks that are left are skipped.

    Yields:
        A finding per check, as soon as there is one.
    """
    found: dict[str, DoctorFinding] = {}
    end = time.monotonic() + time_limit_seconds
    with DoctorContext(options) as case:
        for check in CHECKS:
            cause = _find_blocking_finding(check, found)
            if cause is not None:
                verdict = skipped(f"Not looked into because of what {cause.title!r} says above.")
            elif time.monotonic() > end:
                verdict = skipped(
                    f"Not looked into: {time_limit_seconds:g} s were spent on checks above."
                )
            else:
                verdict = _suppress_explained(_run_check(check, case, fix=fix), check, found)
            found[check.name] = _make_finding(check, verdict)
            yield found[check.name]


def _make_finding(check: DoctorCheck, verdict: CheckResult) -> DoctorFinding:
    """A verdict under the name of its check."""
    return DoctorFinding(check.name, check.title, verdict.status, verdict.sentence, verdict.remedy)


def is_healthy(findings: Sequence[DoctorFinding]) -> bool:
    """Whether no check found a problem."""
    return all(finding.status != "problem" for finding in findings)


def _find_blocking_finding(
    check: DoctorCheck, found: Mapping[str, DoctorFinding]
) -> DoctorFinding | None:
    """The first of the earlier findings that make a check impossible."""
    for name in check.requires:
        if found[name].status == "problem":
            return found[name]
        if found[name].status == "skipped":
            return _find_blocking_finding(_CHECKS_BY_NAME[name], found) or found[name]
    return None


def _run_check(check: DoctorCheck, case: DoctorContext, *, fix: bool) -> CheckResult:
    """Do a check; what it could not find out, or not mend, is a problem too."""
    failed = "This could not be found out"
    try:
        verdict = check.run(case)
        if fix and check.mend is not None and verdict.status == "problem":
            failed = f"{verdict.sentence} This could not be mended"
            verdict = check.mend(case)
    except TagalongError as error:
        return problem(
            f"{failed}: {format_sentence(str(error), capitalize=False)}",
            "Mend that, and run the doctor again.",
        )
    return verdict


def _suppress_explained(
    verdict: CheckResult, check: DoctorCheck, found: Mapping[str, DoctorFinding]
) -> CheckResult:
    """The verdict, or that it is no news after what was found before."""
    if verdict.status != "problem":
        return verdict
    for name in check.explained_by:
        if found[name].status == "problem":
            return skipped(f"Not right either, because of what {found[name].title!r} says above.")
    return verdict
