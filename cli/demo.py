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
from rich.status import Status
from rich.table import Table

from tagalong.cli.terminal.console import console, error_console
from tagalong.cli.terminal.subprocesses import TAGALONG_COMMAND

if TYPE_CHECKING:
    from tagalong.backend.demo.check import DemoCheckReport
    from tagalong.backend.demo.session import DemoCallbacks, DemoOptions, DemoSession

SERVE_COMMAND = (*TAGALONG_COMMAND, "serve")
MAX_LISTED_FINDINGS = 10


def demo_cli(
    home: Annotated[
        Path,
        typer.Option(
            metavar="DIR", envvar="TAGALONG_DEMO", help="Folder for everything the demo creates."
        ),
    ] = Path("tagalong-demo"),
    port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, help="Port for Label Studio.", show_default="8080, or a free one"
        ),
    ] = None,
    backend_port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            help="Port for the Tagalong backend.",
            show_default="9090, or a free one",
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Compare all stored predictions with the model's, then exit."),
    ] = False,
    browser: Annotated[bool, typer.Option(help="Open the demo in the browser.")] = True,
    label_studio: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="PROGRAM",
            help=("Program of a label-studio 1.23.2 to use instead of installing one."),
        ),
    ] = None,
) -> None:
    """Start a Label Studio with pre-annotations; Ctrl-C ends it, a second run resumes.

    Example: tagalong demo
    """
    from tagalong.backend.demo.session import DemoOptions

    options = DemoOptions(
        home,
        SERVE_COMMAND,
        label_studio_port=port,
        backend_port=backend_port,
        label_studio_program=label_studio,
    )
    _run_demo(options, check=check, opens_browser=browser)


def _run_demo(options: "DemoOptions", *, check: bool, opens_browser: bool) -> None:
    from tagalong.backend.demo.check import check_predictions
    from tagalong.backend.demo.session import open_demo

    # Entered first, so that a signal during the start ends the servers too.
    with (
        _exit_on_sigterm(),
        error_console.status("") as spinner,
        open_demo(options, _make_callbacks(spinner)) as demo,
    ):
        spinner.stop()  # it would redraw over the panel
        if check:
            project = demo.demo_project.project.id
            version = demo.demo_project.backend.model_version
            with demo.label_studio.connect() as client:
                report = check_predictions(client, project, version)
            console.print(render_check_report(report, version))
            raise typer.Exit(1 if report.findings else 0)
        console.print(render_demo(demo))
        if opens_browser and _can_open_browser():
            webbrowser.open(demo.url)
        try:
            demo.wait()
        except KeyboardInterrupt:
            error_console.print("Stopping Label Studio and the backend.")


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
    contents = (
        "resumed" if demo.demo_project.is_resumed else f"{len(demo.demo_project.tasks)} abstracts"
    )
    return Panel(
        table,
        title=f"Tagalong in Label Studio ({contents})",
        subtitle="Ctrl-C stops both",
        expand=False,
    )


def render_check_report(report: "DemoCheckReport", version: str) -> str:
    """Describe the comparison and its deviations in Rich's markup."""
    lines = [
        f"{report.predictions} predictions of {escape(version)} for {report.tasks} tasks, with "
        f"{report.regions} regions, are in Label Studio: "
        + (
            f"[red]{len(report.findings)} things are wrong.[/]"
            if report.findings
            else "[green]all are correct.[/]"
        )
    ]
    lines += [f"  {escape(str(finding))}" for finding in report.findings[:MAX_LISTED_FINDINGS]]
    if len(report.findings) > MAX_LISTED_FINDINGS:
        lines.append(f"  and {len(report.findings) - MAX_LISTED_FINDINGS} more")
    return "\n".join(lines)


def _make_callbacks(spinner: Status) -> "DemoCallbacks":
    """Print each step on its own line, and details beside the spinner."""
    from tagalong.backend.demo.session import DemoCallbacks

    def step(name: str) -> None:
        error_console.print(f"{name} ...")
        spinner.update("")

    return DemoCallbacks(
        on_step=step, on_detail=lambda detail: spinner.update(escape(detail[:100]))
    )


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
