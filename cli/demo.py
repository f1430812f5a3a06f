"""``tagalong demo``: a Label Studio with our pre-annotations in it, from nothing to the browser."""

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
    from tagalong.backend.demo.session import DemoCallbacks, DemoSession

SERVE_COMMAND = (*TAGALONG_COMMAND, "serve")
MAX_LISTED_FINDINGS = 10  # findings that are listed


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
    """Show pre-annotations in a Label Studio of its own; Ctrl-C ends it, a second run resumes.

    Example: tagalong demo
    """
    from tagalong.backend.demo.check import check_predictions
    from tagalong.backend.demo.session import DemoOptions, open_demo

    plan = DemoOptions(
        home,
        SERVE_COMMAND,
        label_studio_port=port,
        backend_port=backend_port,
        label_studio_program=label_studio,
    )
    with (
        _exit_on_sigterm(),
        error_console.status("") as spinner,
        open_demo(plan, _make_callbacks(spinner)) as demo,
    ):
        spinner.stop()
        if check:
            project = demo.demo_project.project.id
            version = demo.demo_project.backend.model_version
            with demo.label_studio.connect() as asking:
                checked = check_predictions(asking, project, version)
            console.print(render_check_report(checked, version))
            raise typer.Exit(1 if checked.findings else 0)
        console.print(render_demo(demo))
        if browser and _can_open_browser():
            webbrowser.open(demo.url)
        try:
            demo.wait()
        except KeyboardInterrupt:
            error_console.print("Stopping Label Studio and the backend.")


def render_demo(demo: "DemoSession") -> Panel:
    """Show where the demo is, how to get in, and what to click.

    Args:
        demo: While it is up.

    Returns:
        A panel.
    """
    account = demo.label_studio.account
    shown = Table.grid(padding=(0, 2))
    for name, value in (
        ("Open", f"[link={demo.url}]{demo.url}[/]"),
        ("Log in as", escape(account.email)),
        ("Password", escape(account.password)),
        ("Model", escape(demo.demo_project.backend.model_version)),
    ):
        shown.add_row(f"[bold]{name}[/]", value)
    shown.add_row("", "")
    shown.add_row("[bold]Then[/]", "click a task: its chemicals and diseases are marked already;")
    shown.add_row("", "correct them where they are wrong, and Submit;")
    shown.add_row("", "Label All Tasks begins with what the model is least sure of.")
    again = (
        "resumed" if demo.demo_project.is_resumed else f"{len(demo.demo_project.tasks)} abstracts"
    )
    return Panel(
        shown,
        title=f"Tagalong in Label Studio ({again})",
        subtitle="Ctrl-C stops both",
        expand=False,
    )


def render_check_report(checked: "DemoCheckReport", version: str) -> str:
    """Say what was compared, and what is wrong.

    Args:
        checked: What was found.
        version: Whose predictions they are.

    Returns:
        Lines in Rich's markup.
    """
    lines = [
        f"{checked.predictions} predictions of {escape(version)} for {checked.tasks} tasks, with "
        f"{checked.regions} regions, are in Label Studio: "
        + (
            f"[red]{len(checked.findings)} things are wrong.[/]"
            if checked.findings
            else "[green]each is right to the character.[/]"
        )
    ]
    lines += [f"  {escape(str(finding))}" for finding in checked.findings[:MAX_LISTED_FINDINGS]]
    if len(checked.findings) > MAX_LISTED_FINDINGS:
        lines.append(f"  and {len(checked.findings) - MAX_LISTED_FINDINGS} more")
    return "\n".join(lines)


def _make_callbacks(spinner: Status) -> "DemoCallbacks":
    """Say each step on a line of its own, and beside the spinner what it is at."""
    from tagalong.backend.demo.session import DemoCallbacks

    def step(said: str) -> None:
        error_console.print(f"{said} ...")
        spinner.update("")

    return DemoCallbacks(on_step=step, on_detail=lambda said: spinner.update(escape(said[:100])))


@contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end us as an exception does, so that all is ended."""

    def end(number: int, _: Any) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _can_open_browser() -> bool:
    """Whether somebody sits before a screen; else Python would open one made of text."""
    seen = sys.platform == "darwin" or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
    return console.is_terminal and bool(seen)
