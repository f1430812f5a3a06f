"""``tagalong retrain``: a project's annotations to a version that serves if it is no worse."""

import os
import signal
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from tagalong.backend.retraining.job import Job, JobResult, JobState, PromotionPolicy
from tagalong.backend.retraining.job_store import JobStore, send_signal, server_state_dir
from tagalong.backend.storage.model_store import ModelStore
from tagalong.cli.retrain.job import run_job
from tagalong.cli.retrain.train_and_evaluate import RetrainOptions
from tagalong.cli.terminal.console import console, echo_json, error_console
from tagalong.cli.terminal.options import (
    LABEL_STUDIO_KEY_OPTION,
    LABEL_STUDIO_URL_OPTION,
    JsonOption,
    ModelsOption,
    open_store,
)
from tagalong.ner.errors import TrainingError
from tagalong.ner.model_registry import ENCODER, TierName

NICENESS = 10  # of the 19 steps that a process can stand back


def retrain_cli(
    project: Annotated[
        int | None, typer.Option(min=1, help="Project id: the number in the project's address.")
    ] = None,
    url: Annotated[str | None, LABEL_STUDIO_URL_OPTION] = None,
    key: Annotated[str | None, LABEL_STUDIO_KEY_OPTION] = None,
    tier: Annotated[TierName, typer.Option(help="Model type to train.")] = ENCODER,
    recipe_from: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION",
            help="Version whose base model and hyperparameters to use.",
            show_default="those of the served version",
        ),
    ] = None,
    promote: Annotated[
        PromotionPolicy,
        typer.Option(
            help=(
                "When to make the new version the current one; auto: unless it is "
                "significantly worse than the served version, or the server has other "
                "projects."
            )
        ),
    ] = "auto",
    holdout_share: Annotated[
        float,
        typer.Option(
            min=0.01,
            max=0.9,
            help=("Share of the documents held out for comparing both versions."),
        ),
    ] = 0.2,
    name: Annotated[
        str | None,
        typer.Option(help="Prefix of the new version's name.", show_default="project-N"),
    ] = None,
    warm_start: Annotated[
        bool,
        typer.Option(
            "--warm-start",
            help=(
                "Start from the served version instead of its base model: faster, but errors "
                "accumulate."
            ),
        ),
    ] = False,
    prelabel: Annotated[
        int,
        typer.Option(min=0, help="Number of unannotated tasks to predict after a promotion."),
    ] = 0,
    models: ModelsOption = Path("models"),
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Cancel the project's training jobs, then exit.")
    ] = False,
    run: Annotated[int | None, typer.Option(hidden=True)] = None,
    as_json: JsonOption = False,
) -> None:
    """Train on a project's annotations; the new version serves if it is no worse beyond noise.

    Example: tagalong retrain --project 1
    """
    store = open_store(models)
    runs = JobStore(store.root)
    if cancel:
        print_cancelled(cancel_jobs(runs, require_project(project)))
        return
    if run is None:
        run = enqueue_job(runs, store, require_project(project), tier)
    else:
        os.nice(NICENESS)  # a server began it, and serving goes first
    how = RetrainOptions(
        promotion_policy=promote,
        held_out_share=holdout_share,
        recipe_from=recipe_from,
        version_name=name,
        prelabel_tasks=prelabel,
        warm_start=warm_start,
    )
    ended = run_job(runs, run, store, url=url, key=key, options=how)
    if as_json:
        echo_json(job_to_json(ended))
    else:
        render_job(ended)
    if ended.state not in (JobState.PROMOTED, JobState.REJECTED):
        raise SystemExit(1)


def require_project(project: int | None) -> int:
    """The project, which must have been named."""
    if project is None:
        raise typer.BadParameter("name a project: --project and the number in its address")
    return project


def cancel_jobs(job_store: JobStore, project: int) -> int:
    """End the trainings of a project, whoever runs them.

    Args:
        job_store: All trainings.
        project: Whose to end.

    Returns:
        How many there were.
    """
    count = job_store.request_cancel(project)
    for run in job_store.list_unfinished():
        if run.project != project:
            continue
        if run.state is JobState.RUNNING and job_store.is_locked(run):
            send_signal(run.pid, signal.SIGTERM)  # it notes its own end
        else:
            job_store.finish(run.id, JobState.CANCELLED, JobResult("it was cancelled"))
    return count


def print_cancelled(count: int) -> None:
    """Say how many trainings were ended."""
    error_console.print(
        f"Ending {count} training{'s' * (count != 1)}." if count else "There was none to end."
    )


def enqueue_job(job_store: JobStore, store: ModelStore, project: int, tier: str) -> int:
    """Note that a training was asked for on the command line, and is begun at once.

    Args:
        job_store: All trainings.
        store: Where the server keeps what Label Studio has told it.
        project: Whose annotations to learn from.
        tier: What to train.

    Returns:
        Its id.

    Raises:
        TrainingError: If one is under way.
    """
    from tagalong.backend.events.store import EventStore

    for other in job_store.list_unfinished():
        if (other.project, other.tier, other.state) == (project, tier, JobState.RUNNING):
            if job_store.is_locked(other):
                raise TrainingError(
                    f"a training of project {project} is under way: wait for it, or end it with "
                    f"`tagalong retrain --project {project} --cancel`"
                )
            return other.id  # its process was killed, and this one goes on
    journal_path = server_state_dir(store.root) / "journal.sqlite"
    upto = 0
    if journal_path.exists():
        journal = EventStore(journal_path)
        _, upto = journal.count_annotations(project)
        journal.close()
    return job_store.enqueue(project, tier, reason="the command line", last_event_id=upto)


def job_to_json(job: Job) -> dict[str, Any]:
    """A training as one JSON object."""
    outcome = job.result.to_json() if job.result else {}
    return {"run": job.id, "project": job.project, "tier": job.tier, "state": job.state, **outcome}


def render_job(job: Job) -> None:
    """Show how a training ended.

    Args:
        job: The training.
    """
    outcome = job.result
    if outcome is None:
        return
    if outcome.strata:
        console.print(_build_scores_table(outcome))
    for note in outcome.notes:
        error_console.print(note, style="yellow", markup=False, soft_wrap=True)
    head = {
        JobState.PROMOTED: f"{outcome.version} serves now: ",
        JobState.REJECTED: f"{outcome.version} is kept and does not serve: ",
    }.get(job.state, f"The training {job.state}: ")
    error_console.print(f"{head}{outcome.reason}.", markup=False, soft_wrap=True)


def _build_scores_table(outcome: JobResult) -> Table:
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
