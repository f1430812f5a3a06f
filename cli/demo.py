"""``tagalong demo``: installs and opens a Label Studio with pre-annotated abstracts."""

import os
import signal
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from tagalong.cli.terminal.console import console, error_console
from tagalong.cli.terminal.subprocesses import TAGALONG_COMMAND
from tagalong.ner.counted_nouns import pluralize

if TYPE_CHECKING:
    from tagalong.backend.demo.check import DemoCheckReport
    from tagalong.backend.demo.session import DemoSession

SERVE_COMMAND = (*TAGALONG_COMMAND, "serve")
MAX_LISTED_FINDINGS = 10


HomeOption = Annotated[
    Path,
    typer.Option(
        metavar="DIR", envvar="TAGALONG_DEMO", help="Folder for everything the demo creates."
    ),
]
LabelStudioPortOption = Annotated[
    int | None,
    typer.Option(
        min=1, max=65535, help="Port for Label Studio.", show_default="8080, or a free one"
    ),
]
BackendPortOption = Annotated[
    int | None,
    typer.Option(
        min=1, max=65535, help="Port for the Tagalong backend.", show_default="9090, or a free one"
    ),
]
CheckOption = Annotated[
    bool,
    typer.Option("--check", help="Compare all stored predictions with the model's, then exit."),
]
ProgramOption = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        metavar="PROGRAM",
        help="Program of a label-studio 1.23.2 to use instead of installing one.",
    ),
]


def demo_cli(
    home: HomeOption = Path("tagalong-demo"),
    port: LabelStudioPortOption = None,
    backend_port: BackendPortOption = None,
    check: CheckOption = False,
    browser: Annotated[bool, typer.Option(help="Open the demo in the browser.")] = True,
    label_studio: ProgramOption = None,
) -> None:
    """Start a Label Studio with pre-annotations; Ctrl-C ends it, a second run resumes.

    Example: tagalong demo
    """
    from tagalong.backend.demo.session import DemoOptions, open_demo

    options = DemoOptions(
        home,
        SERVE_COMMAND,
        label_studio_port=port,
        backend_port=backend_port,
        label_studio_program=label_studio,
    )

    def show_step(name: str) -> None:
        error_console.print(f"{name} ...")
        spinner.update("")

    def show_detail(detail: str) -> None:
        spinner.update(escape(detail[:100]))

    # The signals are caught first, so that one during the start ends the servers too.
    with (
        _exit_on_sigterm(),
        error_console.status("") as spinner,
        open_demo(options, show_step, show_detail) as demo,
    ):
        spinner.stop()  # it would redraw over the panel
        if check:
            raise typer.Exit(_check_demo(demo))
        console.print(render_demo(demo))
        if browser and _can_open_browser():
            webbrowser.open(demo.url)
        try:
            demo.wait()
        except KeyboardInterrupt:
            error_console.print("Stopping Label Studio and the backend.")


def _check_demo(demo: "DemoSession") -> int:
    """Print a comparison of the stored predictions; returns the exit status."""
    from tagalong.backend.demo.check import check_predictions

    version = demo.demo_project.backend.model_version
    with demo.label_studio.connect() as client:
        report = check_predictions(client, demo.demo_project.project.id, version)
    console.print(render_check_report(report, version))
    return 1 if report.findings else 0


def render_demo(demo: "DemoSession") -> Panel:
    """Render address, login and first steps."""
    account = demo.label_studio.account
    table = Table.grid(padding=(0, 2))
    for name, value in (
        ("Open", f"[link={demo.url}]{demo.url}[/]"),
        ("Log in as", escape(account.email)),
        ("Password", escape(account.password)),
        ("Model", escape(demo.demo_project.backend.model_version)),
    ):
        table.add_row(f"[bold]{name}[/]", value)
    table.add_row("", "")
    table.add_row("[bold]Then[/]", "click a task: its chemicals and diseases are marked already;")
    table.add_row("", "correct them where they are wrong, and Submit;")
    table.add_row("", "Label All Tasks starts with the most uncertain tasks.")
    project = demo.demo_project
    contents = "resumed" if project.is_resumed else pluralize(len(project.tasks), "abstract")
    title = f"Tagalong in Label Studio ({contents})"
    return Panel(table, title=title, subtitle="Ctrl-C stops both", expand=False)


def render_check_report(report: "DemoCheckReport", version: str) -> str:
    """Describe the comparison and its deviations in Rich's markup."""
    wrong = len(report.findings)
    verdict = (
        f"[red]{pluralize(wrong, 'thing is', 'things are')} wrong.[/]"
        if wrong
        else "[green]all are correct.[/]"
    )
    lines = [
        f"{report.predictions} predictions of {escape(version)} for {report.tasks} tasks, with "
        f"{report.regions} regions, are in Label Studio: {verdict}"
    ]
    lines += [f"  {escape(finding)}" for finding in report.findings[:MAX_LISTED_FINDINGS]]
    if wrong > MAX_LISTED_FINDINGS:
        lines.append(f"  and {wrong - MAX_LISTED_FINDINGS} more")
    return "\n".join(lines)


@contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM and a closed terminal into an exception, so that child processes end."""

    def end(number: int, _: Any) -> None:
        raise SystemExit(128 + number)  # as a shell reports the signal

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _can_open_browser() -> bool:
    """Whether there is a screen; otherwise Python would open a browser in the terminal."""
    has_screen = sys.platform == "darwin" or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
    return console.is_terminal and bool(has_screen)
