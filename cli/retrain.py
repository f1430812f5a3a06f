"""``tagalong retrain``: a project's annotations to a version that serves if it is no worse."""

import os
import signal
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from backend.retraining.run import Outcome, Run, RunState
from backend.retraining.runs import Runs, interrupt, server_home
from cli.console import console, echo_json, errors
from cli.options import LABEL_STUDIO, LABEL_STUDIO_KEY, AsJson, Models, open_store
from cli.retrain_learn import How
from cli.retrain_run import TierName, carry_out
from ner.errors import TrainingError
from ner.store import Store

NICE = 10  # of the 19 steps that a process can stand back
Promote = Literal["auto", "always", "never"]


def retrain_cli(
    project: Annotated[
        int | None, typer.Option(min=1, help="The number in the project's address.")
    ] = None,
    url: Annotated[str | None, LABEL_STUDIO] = None,
    key: Annotated[str | None, LABEL_STUDIO_KEY] = None,
    tier: Annotated[TierName, typer.Option(help="What to train.")] = "encoder",
    like: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION",
            help="Whose base and recipe to train by.",
            show_default="those of the version that serves",
        ),
    ] = None,
    promote: Annotated[
        Promote,
        typer.Option(
            help="auto: unless the new version is worse than the old one beyond noise, or the "
            "server has other projects."
        ),
    ] = "auto",
    held_out: Annotated[
        float,
        typer.Option(
            min=0.01, max=0.9, help="Share of the documents that is never learnt from, to judge by."
        ),
    ] = 0.2,
    name: Annotated[
        str | None,
        typer.Option(help="What the version's name starts with.", show_default="project-N"),
    ] = None,
    warm: Annotated[
        bool,
        typer.Option(
            "--warm", help="Begin at the version that serves: quicker, but its errors pile up."
        ),
    ] = False,
    prelabel: Annotated[
        int,
        typer.Option(
            min=0, help="Tasks nobody has annotated that the version predicts once it serves."
        ),
    ] = 0,
    models: Models = Path("models"),
    cancel: Annotated[
        bool, typer.Option("--cancel", help="End the project's trainings, and do nothing else.")
    ] = False,
    run: Annotated[int | None, typer.Option(hidden=True)] = None,
    as_json: AsJson = False,
) -> None:
    """Train on a project's annotations; the new version serves if it is no worse beyond noise.

    Example: tagalong retrain --project 1
    """
    store = open_store(models)
    runs = Runs(store.root)
    if cancel:
        say_cancelled(cancel_runs(runs, wanted(project)))
        return
    if run is None:
        run = ask(runs, store, wanted(project), tier)
    else:
        os.nice(NICE)  # a server began it, and serving goes first
    how = How(policy=promote, share=held_out, like=like, name=name, prelabel=prelabel, warm=warm)
    ended = carry_out(runs, run, store, url=url, key=key, how=how)
    if as_json:
        echo_json(run_to_json(ended))
    else:
        render(ended)
    if ended.state not in (RunState.PROMOTED, RunState.KEPT):
        raise SystemExit(1)


def wanted(project: int | None) -> int:
    """The project, which must have been named."""
    if project is None:
        raise typer.BadParameter("name a project: --project and the number in its address")
    return project


def cancel_runs(runs: Runs, project: int) -> int:
    """End the trainings of a project, whoever runs them.

    Args:
        runs: All trainings.
        project: Whose to end.

    Returns:
        How many there were.
    """
    count = runs.cancel(project)
    for run in runs.unfinished():
        if run.project != project:
            continue
        if run.state is RunState.RUNNING and runs.is_held(run):
            interrupt(run.process, signal.SIGTERM)  # it notes its own end
        else:
            runs.end(run.id, RunState.CANCELLED, Outcome("it was cancelled"))
    return count


def say_cancelled(count: int) -> None:
    """Say how many trainings were ended."""
    errors.print(
        f"Ending {count} training{'s' * (count != 1)}." if count else "There was none to end."
    )


def ask(runs: Runs, store: Store, project: int, tier: str) -> int:
    """Note that a training was asked for on the command line, and is begun at once.

    Args:
        runs: All trainings.
        store: Where the server keeps what Label Studio has told it.
        project: Whose annotations to learn from.
        tier: What to train.

    Returns:
        Its id.

    Raises:
        TrainingError: If one is under way.
    """
    from backend.server.journal import Journal

    for other in runs.unfinished():
        if (other.project, other.tier, other.state) == (project, tier, RunState.RUNNING):
            if runs.is_held(other):
                raise TrainingError(
                    f"a training of project {project} is under way: wait for it, or end it with "
                    f"`tagalong retrain --project {project} --cancel`"
                )
            return other.id  # its process was killed, and this one goes on
    journal_path = server_home(store.root) / "journal.sqlite"
    upto = 0
    if journal_path.exists():
        journal = Journal(journal_path)
        _, upto = journal.annotated(project)
        journal.close()
    return runs.ask(project, tier, reason="the command line", upto=upto)


def run_to_json(run: Run) -> dict[str, Any]:
    """A training as one JSON object."""
    outcome = run.outcome.to_json() if run.outcome else {}
    return {"run": run.id, "project": run.project, "tier": run.tier, "state": run.state, **outcome}


def render(run: Run) -> None:
    """Show how a training ended.

    Args:
        run: The training.
    """
    outcome = run.outcome
    if outcome is None:
        return
    if outcome.strata:
        console.print(_table(outcome))
    for note in outcome.notes:
        errors.print(note, style="yellow", markup=False, soft_wrap=True)
    head = {
        RunState.PROMOTED: f"{outcome.version} serves now: ",
        RunState.KEPT: f"{outcome.version} is kept and does not serve: ",
    }.get(run.state, f"The training {run.state}: ")
    errors.print(f"{head}{outcome.reason}.", markup=False, soft_wrap=True)


def _table(outcome: Outcome) -> Table:
    """Both versions by length."""
    table = Table(
        title=f"Strict F1 on {outcome.held_out} held-out documents",
        box=box.SIMPLE_HEAD if console.is_terminal else box.ASCII,
    )
    for column in ("entities", "gold", "new", "old", "difference"):
        table.add_column(column, justify="left" if column == "entities" else "right")
    for one in outcome.strata:
        known = one.old is not None and one.low is not None and one.high is not None
        difference = (
            f"{one.new - (one.old or 0):+.3f} ({one.low:+.3f} to {one.high:+.3f})" if known else "-"
        )
        cells = (one.name, f"{one.support:,}", f"{one.new:.3f}", f"{one.old:.3f}" if known else "-")
        table.add_row(*map(Text, (*cells, difference)))
    return table
