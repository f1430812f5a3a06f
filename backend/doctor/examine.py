"""Every check in order, and what makes one of them needless."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from backend.doctor import (
    agreement,
    connection,
    entrance,
    events,
    predictions,
    project,
    service,
    shown,
    tabs,
)
from backend.doctor.case import Case, Question
from backend.doctor.finding import Finding, Verdict, as_sentence, problem, skipped
from ner.errors import TagalongError

PATIENCE: Final = 180.0  # seconds after which no further check is begun


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is looked into.

    Attributes:
        name: Stays the same from release to release.
        title: What it looks at, for people.
        run: Does it.
        needs: Checks without which it cannot be done: a problem there, or skipping it, skips it.
        explained_by: Checks whose problem is the cause of one that this finds, which is then not
            told as another.
        mend: Removes a problem that this finds, and checks again; None where only people can.
    """

    name: str
    title: str
    run: Callable[[Case], Verdict]
    needs: tuple[str, ...] = ()
    explained_by: tuple[str, ...] = ()
    mend: Callable[[Case], Verdict] | None = None


CHECKS: Final = (
    Check("label_studio", "Label Studio", entrance.check_label_studio),
    Check("key", "Key", entrance.check_key, needs=("label_studio",)),
    Check("project", "Project", entrance.check_project, needs=("key",)),
    Check("config", "Labelling config", project.check_config, needs=("project",)),
    Check("tasks", "Tasks", project.check_tasks, needs=("config",)),
    Check("tabs", "Data Manager", tabs.check_tabs, needs=("project",), mend=tabs.mend_tabs),
    Check("connected", "ML backend", connection.check_connected, needs=("project",)),
    Check("network", "Network switches", connection.check_network, needs=("project",)),
    Check("answers", "Backend (from here)", service.check_answers, needs=("project",)),
    Check("auth", "User and password", service.check_auth, needs=("answers",)),
    Check("setup", "Setup", service.check_setup, needs=("answers", "auth", "config")),
    Check("predict", "One prediction", service.check_predict, needs=("setup", "tasks")),
    Check("times", "Time budgets", service.check_times, needs=("answers",)),
    Check(
        "state",
        "Backend (from Label Studio)",
        connection.check_state,
        needs=("connected",),
        explained_by=("config", "network", "answers", "auth", "setup", "times"),
    ),
    Check("shown", "Pre-labelling", shown.check_shown, needs=("project",)),
    Check(
        "version",
        "Version",
        agreement.check_version,
        needs=("connected",),
        explained_by=("setup", "state", "shown"),
    ),
    Check("labels", "Labels", agreement.check_labels, needs=("config", "answers")),
    Check("webhook", "Webhook", events.check_webhook, needs=("connected",)),
    Check("validation", "Prediction validation", predictions.check_validation, needs=("config",)),
    Check("stored", "Stored predictions", predictions.check_stored, needs=("project",)),
)

_BY_NAME: Final = {check.name: check for check in CHECKS}


def examine(
    question: Question, *, fix: bool = False, patience: float = PATIENCE
) -> Iterator[Finding]:
    """Say in order what is wrong, and ask the backend what Label Studio asks it.

    Args:
        question: What to look at.
        fix: Mend what a check can mend. Without it nothing is changed.
        patience: Seconds after which the checks that are left are skipped.

    Yields:
        A finding per check, as soon as there is one.
    """
    found: dict[str, Finding] = {}
    end = time.monotonic() + patience
    with Case(question) as case:
        for check in CHECKS:
            cause = _cause(check, found)
            if cause is not None:
                verdict = skipped(f"Not looked into because of what {cause.title!r} says above.")
            elif time.monotonic() > end:
                verdict = skipped(f"Not looked into: {patience:g} s were spent on checks above.")
            else:
                verdict = _explained(_run(check, case, fix=fix), check, found)
            found[check.name] = _finding(check, verdict)
            yield found[check.name]


def _finding(check: Check, verdict: Verdict) -> Finding:
    """A verdict under the name of its check."""
    return Finding(check.name, check.title, verdict.status, verdict.sentence, verdict.remedy)


def is_healthy(findings: Sequence[Finding]) -> bool:
    """Whether no check found a problem."""
    return all(finding.status != "problem" for finding in findings)


def _cause(check: Check, found: Mapping[str, Finding]) -> Finding | None:
    """The first of the earlier findings that make a check impossible."""
    for name in check.needs:
        if found[name].status == "problem":
            return found[name]
        if found[name].status == "skipped":
            return _cause(_BY_NAME[name], found) or found[name]
    return None


def _run(check: Check, case: Case, *, fix: bool) -> Verdict:
    """Do a check; what it could not find out, or not mend, is a problem too."""
    failed = "This could not be found out"
    try:
        verdict = check.run(case)
        if fix and check.mend is not None and verdict.status == "problem":
            failed = f"{verdict.sentence} This could not be mended"
            verdict = check.mend(case)
    except TagalongError as error:
        return problem(
            f"{failed}: {as_sentence(str(error), capital=False)}",
            "Mend that, and run the doctor again.",
        )
    return verdict


def _explained(verdict: Verdict, check: Check, found: Mapping[str, Finding]) -> Verdict:
    """The verdict, or that it is no news after what was found before."""
    if verdict.status != "problem":
        return verdict
    for name in check.explained_by:
        if found[name].status == "problem":
            return skipped(f"Not right either, because of what {found[name].title!r} says above.")
    return verdict
