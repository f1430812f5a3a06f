"""``tagalong doctor``: what keeps predictions from being shown, in order, and how to mend it."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.text import Text

from tagalong.backend.doctor.finding import CheckStatus, DoctorFinding
from tagalong.cli.terminal.console import console, echo_json
from tagalong.cli.terminal.options import (
    LABEL_STUDIO_KEY_OPTION,
    LABEL_STUDIO_URL_OPTION,
    JsonOption,
)
from tagalong.ner.errors import InputError
from tagalong.ner.text_sanitizing import to_single_line

STATUS_MARKS: dict[CheckStatus, str] = {"ok": "✓", "warning": "!", "problem": "✗", "skipped": "·"}
STATUS_COLORS: dict[CheckStatus, str] = {
    "ok": "green",
    "warning": "yellow",
    "problem": "red",
    "skipped": "dim",
}


def doctor_cli(
    url: Annotated[str, LABEL_STUDIO_URL_OPTION],
    key: Annotated[str, LABEL_STUDIO_KEY_OPTION],
    project: Annotated[
        int, typer.Option(min=1, help="Project id: the number in the project's address.")
    ],
    backend: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help=(
                "Address of the backend from this machine, if Label Studio uses another one "
                "or is not connected yet."
            ),
        ),
    ] = None,
    username: Annotated[
        str | None, typer.Option(envvar="TAGALONG_USERNAME", help="User name of the backend.")
    ] = None,
    password: Annotated[
        str | None,
        typer.Option(
            envvar="TAGALONG_PASSWORD",
            help="Password of the backend; better set in the environment.",
        ),
    ] = None,
    fix: Annotated[
        bool,
        typer.Option("--fix", help="Repair tabs that make the Data Manager unusable."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say in order what keeps predictions from being shown, and how to mend it.

    Changes nothing without --fix.

    Example: tagalong doctor --label-studio-url http://localhost:8080 --project 1
    """
    from tagalong.backend.doctor.checks import is_healthy, run_checks
    from tagalong.backend.doctor.context import DoctorOptions

    if bool(username) != bool(password):
        raise InputError(
            f"there is {'a username' if username else 'a password'}, but not the other: give both, "
            "or neither for a backend that asks for none"
        )
    login = (username, password) if username and password else None
    found = run_checks(DoctorOptions(url, key, project, backend_url=backend, login=login), fix=fix)
    findings = list(found) if as_json else print_findings(found)
    if as_json:
        echo_json(findings_to_json(findings, healthy=is_healthy(findings)))
    else:
        console.print(render_summary(findings))
    if not is_healthy(findings):
        raise typer.Exit(1)


def print_findings(found: Iterable[DoctorFinding]) -> list[DoctorFinding]:
    """Print findings as soon as there are any; those skipped for one cause on one line.

    Args:
        found: In the order of the checks.

    Returns:
        The findings.
    """
    findings: list[DoctorFinding] = []
    waiting: list[DoctorFinding] = []
    for finding in found:
        findings.append(finding)
        if waiting and finding.sentence != waiting[0].sentence:
            console.print(render_findings(waiting), soft_wrap=True)
            waiting = []
        if finding.status == "skipped":
            waiting.append(finding)
        else:
            console.print(render_findings([finding]), soft_wrap=True)
    if waiting:
        console.print(render_findings(waiting), soft_wrap=True)
    return findings


def render_findings(findings: Sequence[DoctorFinding]) -> Text:
    """Draw findings that say the same.

    Args:
        findings: At least one.

    Returns:
        Mark, titles and sentence, and in a line of its own what to do. Whatever a server said in
        them is on one line, with control characters as escapes.
    """
    first = findings[0]
    is_dim = first.status == "skipped"
    drawn = Text(f"{STATUS_MARKS[first.status]} ", style=STATUS_COLORS[first.status])
    titles = ", ".join(finding.title for finding in findings)
    drawn.append(f"{titles}: ", style="dim" if is_dim else "bold")
    drawn.append(to_single_line(first.sentence), style="dim" if is_dim else "default")
    if first.remedy:
        drawn.append(f"\n  → {to_single_line(first.remedy)}", style="default")
    return drawn


def render_summary(findings: Sequence[DoctorFinding]) -> Text:
    """Draw what it comes to.

    Args:
        findings: Of all checks.

    Returns:
        One line.
    """
    problems = sum(finding.status == "problem" for finding in findings)
    warnings = sum(finding.status == "warning" for finding in findings)
    if problems:
        count = "one problem" if problems == 1 else f"{problems} problems"
        return Text(f"\n{count.capitalize()}. Mend the first, and run the doctor again.")
    if warnings:
        count = "one warning" if warnings == 1 else f"{warnings} warnings"
        return Text(f"\nNo problem, {count}.")
    return Text("\nAll is well.")


def findings_to_json(findings: Sequence[DoctorFinding], *, healthy: bool) -> dict[str, Any]:
    """Write findings for another program.

    Args:
        findings: Of all checks.
        healthy: Whether none is a problem.

    Returns:
        What JSON can hold.
    """
    return {"healthy": healthy, "findings": [asdict(finding) for finding in findings]}
