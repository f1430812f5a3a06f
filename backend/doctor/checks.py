"""All checks in order, and the findings that make one of them needless."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Final

from tagalong.backend.doctor import (
    backend_connection,
    backend_responses,
    label_studio_access,
    old_install,
    predictions,
    project_settings,
    webhook,
)
from tagalong.backend.doctor.context import DoctorContext, DoctorOptions
from tagalong.backend.doctor.finding import DoctorFinding, format_sentence, problem, skipped
from tagalong.ner.errors import TagalongError

TIME_LIMIT_SECONDS: Final = 180.0  # after which no further check starts


@dataclass(frozen=True, slots=True)
class DoctorCheck:
    """One check."""

    name: str  # stays the same from release to release
    title: str  # the name for users
    run: Callable[[DoctorContext], DoctorFinding]
    requires: tuple[str, ...] = ()  # a problem in one of these, or skipping it, skips this check
    explained_by: tuple[str, ...] = ()  # a problem in one of these causes a problem here
    # Fixes the problem, and checks again; None if only the user can.
    mend: Callable[[DoctorContext], DoctorFinding] | None = None


# In the order in which problems cause each other: the first problem is the one to fix first.
CHECKS: Final = (
    DoctorCheck("label_studio", "Label Studio", label_studio_access.check_label_studio),
    DoctorCheck("key", "Key", label_studio_access.check_key, ("label_studio",)),
    DoctorCheck("project", "Project", label_studio_access.check_project, ("key",)),
    DoctorCheck("config", "Labelling config", project_settings.check_label_config, ("project",)),
    DoctorCheck("tasks", "Tasks", project_settings.check_tasks, ("config",)),
    DoctorCheck(
        "tabs",
        "Data Manager",
        project_settings.check_tabs,
        ("project",),
        mend=project_settings.mend_tabs,
    ),
    DoctorCheck("connected", "ML backend", backend_connection.check_connected, ("project",)),
    DoctorCheck("network", "Network settings", backend_connection.check_network, ("project",)),
    DoctorCheck("answers", "Backend (from here)", backend_responses.check_reachable, ("project",)),
    DoctorCheck("auth", "User and password", backend_responses.check_auth, ("answers",)),
    DoctorCheck("setup", "Setup", backend_responses.check_setup, ("answers", "auth", "config")),
    DoctorCheck("predict", "One prediction", backend_responses.check_predict, ("setup", "tasks")),
    DoctorCheck("times", "Time limits", backend_responses.check_latency, ("answers",)),
    DoctorCheck(
        "state",
        "Backend (from Label Studio)",
        backend_connection.check_backend_state,
        ("connected",),
        explained_by=("config", "network", "answers", "auth", "setup", "times"),
    ),
    DoctorCheck("shown", "Pre-labelling", project_settings.check_prelabeling, ("project",)),
    DoctorCheck(
        "version",
        "Version",
        predictions.check_version,
        ("connected",),
        explained_by=("setup", "state", "shown"),
    ),
    DoctorCheck("labels", "Labels", predictions.check_labels, ("config", "answers")),
    DoctorCheck("annotations", "Annotations", project_settings.check_annotations, ("project",)),
    DoctorCheck("webhook", "Webhook", webhook.check_webhook, ("connected",)),
    DoctorCheck("validation", "Prediction validation", predictions.check_validation, ("config",)),
    DoctorCheck("stored", "Stored predictions", predictions.check_stored_versions, ("project",)),
    DoctorCheck("old_install", "Installation", old_install.check_old_install),
)
_CHECKS_BY_NAME: Final = {check.name: check for check in CHECKS}


def run_checks(
    options: DoctorOptions, *, fix: bool = False, time_limit_seconds: float = TIME_LIMIT_SECONDS
) -> Iterator[DoctorFinding]:
    """Run all checks in order, and yield one finding per check, as soon as it is known.

    Nothing is changed without `fix`. After the time limit, the remaining checks are skipped.
    """
    findings: dict[str, DoctorFinding] = {}
    deadline = time.monotonic() + time_limit_seconds
    with closing(DoctorContext(options)) as context:
        for check in CHECKS:
            cause = _find_blocking_finding(check, findings)
            if cause is not None:
                reason = f"because of the finding for {cause.title!r} above"
                result = skipped("blocked", f"Not checked {reason}.")
            elif time.monotonic() > deadline:
                spent = f"{time_limit_seconds:g} s were spent on checks above"
                result = skipped("out-of-time", f"Not checked: {spent}.")
            else:
                result = _suppress_explained(_run_check(check, context, fix=fix), check, findings)
            findings[check.name] = replace(result, check=check.name, title=check.title)
            yield findings[check.name]


def is_healthy(findings: Sequence[DoctorFinding]) -> bool:
    """Whether no check found a problem."""
    return all(finding.status != "problem" for finding in findings)


def _find_blocking_finding(
    check: DoctorCheck, findings: Mapping[str, DoctorFinding]
) -> DoctorFinding | None:
    """The first earlier finding that makes a check impossible: the cause, not a skipped check."""
    for name in check.requires:
        if findings[name].status == "problem":
            return findings[name]
        if findings[name].status == "skipped":
            return _find_blocking_finding(_CHECKS_BY_NAME[name], findings) or findings[name]
    return None


def _run_check(check: DoctorCheck, context: DoctorContext, *, fix: bool) -> DoctorFinding:
    """Run a check; if it fails, or its fix fails, that is a problem too."""
    failure = "This could not be checked"
    try:
        result = check.run(context)
        if fix and check.mend is not None and result.status == "problem":
            failure = f"{result.sentence} This could not be fixed"
            result = check.mend(context)
    except TagalongError as error:
        sentence = f"{failure}: {format_sentence(str(error), capitalize=False)}"
        return problem(error.code, sentence, "Fix that, and run the doctor again.")
    return result


def _suppress_explained(
    result: DoctorFinding, check: DoctorCheck, findings: Mapping[str, DoctorFinding]
) -> DoctorFinding:
    """Replace a problem that an earlier one explains by a skipped check."""
    if result.status != "problem":
        return result
    for name in check.explained_by:
        if findings[name].status == "problem":
            title = findings[name].title
            return skipped("explained", f"Fails too, because of the finding for {title!r} above.")
    return result
