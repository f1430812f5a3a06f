"""``tagalong doctor``: reasons why a project shows no predictions, and their remedies."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from tagalong.backend.doctor.finding import CheckStatus, DoctorFinding
from tagalong.cli.terminal.console import console, echo_json
from tagalong.cli.terminal.options import (
    LABEL_STUDIO_KEY_OPTION,
    LABEL_STUDIO_URL_OPTION,
    JsonOption,
    LabelStudioProjectOption,
)
from tagalong.ner.errors import InputError
from tagalong.ner.text_sanitizing import to_single_line

STATUS_STYLES: dict[CheckStatus, tuple[str, str]] = {  # mark and colour
    "ok": ("✓", "green"),
    "warning": ("!", "yellow"),
    "problem": ("✗", "red"),
    "skipped": ("·", "dim"),
}
BackendOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Address of the backend from this machine, if Label Studio uses another one or is not "
        "connected yet.",
    ),
]
BackendUsernameOption = Annotated[
    str | None, typer.Option(envvar="TAGALONG_USERNAME", help="User name of the backend.")
]
BackendPasswordOption = Annotated[
    str | None,
    typer.Option(
        envvar="TAGALONG_PASSWORD", help="Password of the backend; better set in the environment."
    ),
]
FixOption = Annotated[
    bool, typer.Option("--fix", help="Repair tabs that make the Data Manager unusable.")
]


def doctor_cli(
    url: Annotated[str, LABEL_STUDIO_URL_OPTION],
    key: Annotated[str, LABEL_STUDIO_KEY_OPTION],
    project: LabelStudioProjectOption,
    backend: BackendOption = None,
    username: BackendUsernameOption = None,
    password: BackendPasswordOption = None,
    fix: FixOption = False,
    as_json: JsonOption = False,
) -> None:
    """Find out why a project shows no predictions, and how to fix it.

    Changes nothing without --fix.

    Example: tagalong doctor --label-studio-url http://localhost:8080 --project 1
    """
    from tagalong.backend.doctor.checks import is_healthy, run_checks
    from tagalong.backend.doctor.context import DoctorOptions

    login = pair_login(username, password)
    results = run_checks(
        DoctorOptions(url, key, project, backend_url=backend, login=login), fix=fix
    )
    findings = list(results) if as_json else print_findings(results)
    healthy = is_healthy(findings)
    if as_json:
        echo_json({"healthy": healthy, "findings": [asdict(finding) for finding in findings]})
    else:
        console.print(render_summary(findings))
    if not healthy:  # warnings do not fail a script
        raise typer.Exit(1)


def pair_login(username: str | None, password: str | None) -> tuple[str, str] | None:
    """The login of a backend, if there is one; `InputError` for half of one."""
    if bool(username) != bool(password):
        raise InputError(
            f"there is {'a username' if username else 'a password'}, but not the other: give both, "
            "or neither if the backend needs no login",
            code="login-incomplete",
        )
    return (username, password) if username and password else None


def print_findings(results: Iterable[DoctorFinding]) -> list[DoctorFinding]:
    """Print findings as they come, and return them; skipped ones of one cause share a line."""
    findings: list[DoctorFinding] = []
    group: list[DoctorFinding] = []
    for finding in results:
        findings.append(finding)
        if group and finding.sentence != group[0].sentence:  # of the next cause
            console.print(render_findings(group), soft_wrap=True)
            group = []
        group.append(finding)
        if finding.status != "skipped":  # others of this cause do not follow
            console.print(render_findings(group), soft_wrap=True)
            group = []
    if group:
        console.print(render_findings(group), soft_wrap=True)
    return findings


def render_findings(findings: Sequence[DoctorFinding]) -> Text:
    """Render findings that share a sentence: mark, titles and sentence, then the remedy.

    Text from servers is on one line, with control characters escaped.
    """
    first = findings[0]
    is_dim = first.status == "skipped"
    mark, colour = STATUS_STYLES[first.status]
    text = Text(f"{mark} ", style=colour)
    titles = ", ".join(finding.title for finding in findings)
    text.append(f"{titles}: ", style="dim" if is_dim else "bold")
    text.append(to_single_line(first.sentence), style="dim" if is_dim else "default")
    if first.remedy:
        text.append(f"\n  → {to_single_line(first.remedy)}", style="default")
    return text


def render_summary(findings: Sequence[DoctorFinding]) -> Text:
    """Render the number of problems and warnings."""
    problems = sum(finding.status == "problem" for finding in findings)
    warnings = sum(finding.status == "warning" for finding in findings)
    if problems:
        count = "One problem" if problems == 1 else f"{problems} problems"
        return Text(f"\n{count}. Fix the first, and run the doctor again.")
    if warnings:
        count = "one warning" if warnings == 1 else f"{warnings} warnings"
        return Text(f"\nNo problem, {count}.")
    return Text("\nNo problem.")
