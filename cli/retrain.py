"""``tagalong retrain``: train on a project's annotations, and promote by the promotion gate."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from tagalong.backend.label_studio.fetch import parse_hosts
from tagalong.backend.retraining.job import Job, JobResult, JobState
from tagalong.backend.retraining.job_store import JobStore
from tagalong.cli import retrain_options
from tagalong.cli.terminal.console import console, echo_json, error_console, print_warning
from tagalong.cli.terminal.options import (
    ALLOWED_HOSTS_OPTION,
    LABEL_STUDIO_KEY_OPTION,
    LABEL_STUDIO_URL_OPTION,
    JsonOption,
    ModelsOption,
    open_store,
)
from tagalong.cli.terminal.progress import training_progress_bar
from tagalong.cli.terminal.tables import new_table
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.length_buckets import LENGTH_NOTES
from tagalong.ner.tiers import ENCODER
from tagalong.training.jobs.job_requests import RetrainOptions, cancel_jobs, claim_job


def retrain_cli(
    project: retrain_options.RetrainProjectOption = None,
    url: Annotated[str | None, LABEL_STUDIO_URL_OPTION] = None,
    key: Annotated[str | None, LABEL_STUDIO_KEY_OPTION] = None,
    allowed_hosts: Annotated[str, ALLOWED_HOSTS_OPTION] = "",
    tier: retrain_options.RetrainTierOption = ENCODER,
    recipe_from: retrain_options.RetrainRecipeFromOption = None,
    promote: retrain_options.RetrainPromoteOption = "auto",
    holdout_share: retrain_options.HoldoutShareOption = 0.2,
    name: retrain_options.RetrainVersionNameOption = None,
    warm_start: retrain_options.WarmStartOption = False,
    prelabel: retrain_options.PrelabelOption = 0,
    models: ModelsOption = Path("models"),
    cancel: retrain_options.CancelOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train on a project's annotations; promote the version if it passes the promotion gate.

    Example: tagalong retrain --project 1
    """
    if project is None:
        raise typer.BadParameter("name a project: --project and the number in its address")
    store = open_store(models)
    job_store = JobStore(store.root)
    if cancel:
        count = cancel_jobs(job_store, project)
        error_console.print(f"Cancelled {pluralize(count, 'training')}.")
        return
    # Imports torch, which takes seconds.
    from tagalong.training.jobs.retrain import describe_job, find_project_key, run_claimed_job

    how = RetrainOptions(
        label_studio_url=url,
        label_studio_key=key,
        allowed_hosts=parse_hosts(allowed_hosts),
        promotion_policy=promote,
        held_out_share=holdout_share,
        recipe_from=recipe_from,
        version_name=name,
        prelabel_tasks=prelabel,
        warm_start=warm_start,
    )
    with (
        claim_job(job_store, store, find_project_key(how, project), tier) as job_id,
        training_progress_bar(error_console) as on_progress,
    ):
        job = run_claimed_job(job_store, job_id, store, how, on_progress=on_progress)
    if as_json:
        echo_json(job_to_json(job))
    elif job.result is not None:
        if job.result.strata:
            console.print(_build_scores_table(job.result))
            console.print(LENGTH_NOTES["words"])
        for note in job.result.notes:
            print_warning(note)
        error_console.print(describe_job(job), markup=False, soft_wrap=True)
    if job.state not in (JobState.PROMOTED, JobState.REJECTED):
        raise SystemExit(1)


def job_to_json(job: Job) -> dict[str, Any]:
    """A job as one JSON object."""
    outcome = asdict(job.result) if job.result else {}
    return {
        "job": job.id,
        "project": job.project.id,
        "tier": job.tier,
        "state": job.state,
        **outcome,
    }


def _build_scores_table(outcome: JobResult) -> Table:
    """Scores of both versions by length."""
    table = new_table(title=f"Strict F1 on {pluralize(outcome.held_out, 'held-out document')}")
    for column in ("length", "gold entities", "new", "current", "difference"):
        table.add_column(column, justify="left" if column == "length" else "right")
    for one in outcome.strata:
        known = one.current is not None and one.low is not None and one.high is not None
        difference = (
            f"{one.new - (one.current or 0):+.3f} ({one.low:+.3f} to {one.high:+.3f})"
            if known
            else "-"
        )
        cells = (
            one.name,
            f"{one.support:,}",
            f"{one.new:.3f}",
            f"{one.current:.3f}" if known else "-",
        )
        table.add_row(*map(Text, (*cells, difference)))
    return table
