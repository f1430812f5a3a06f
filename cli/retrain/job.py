"""A retraining from its beginning to its end, with a note of every step."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import FrameType
from typing import cast

from tagalong.backend.batch.source_and_sink import ProjectOptions
from tagalong.backend.retraining.job import Job, JobResult, JobState
from tagalong.backend.retraining.job_store import EX_TEMPFAIL, JobStore
from tagalong.backend.storage.model_store import ModelStore
from tagalong.cli.retrain.promote import promote_version
from tagalong.cli.retrain.train_and_evaluate import RetrainOptions, train_and_evaluate
from tagalong.cli.terminal.console import error_console
from tagalong.cli.terminal.options import load_tier_version
from tagalong.ner.errors import InputError, TagalongError
from tagalong.ner.model_registry import TierName


def run_job(
    job_store: JobStore,
    job_id: int,
    store: ModelStore,
    *,
    url: str | None,
    key: str | None,
    options: RetrainOptions,
) -> Job:
    """Run a training to its end, and note how it ended.

    Args:
        job_store: All trainings.
        job_id: Of this one.
        store: Of versions.
        url: Of Label Studio.
        key: A token.
        options: How to train.

    Returns:
        The training, ended.

    Raises:
        KeyboardInterrupt: If it was interrupted and not cancelled: it can go on.
        SystemExit: If another process runs it.
    """
    run = job_store.read_job(job_id)
    if run is None or run.state.is_finished:
        raise InputError(f"training {job_id} is not there to be run any more")
    with job_store.lock(run.project, run.tier) as ours:
        if not ours:
            raise SystemExit(EX_TEMPFAIL)
        if run.state is JobState.WAITING:
            job_store.mark_running(job_id)
        job_store.set_pid(job_id, os.getpid())
        with interrupting_on_sigterm():
            try:
                state, outcome = retrain_project(
                    job_store, run, store, url=url, key=key, options=options
                )
            except KeyboardInterrupt:
                if not _is_cancel_requested(job_store, job_id):
                    raise
                state, outcome = JobState.CANCELLED, JobResult("it was cancelled")
            except (TagalongError, OSError) as error:
                state, outcome = JobState.FAILED, JobResult(str(error))
        job_store.remove_work_dir(run)
        job_store.finish(job_id, state, outcome)
    ended = job_store.read_job(job_id)
    assert ended is not None  # noqa: S101 (rows are never removed)
    return ended


def retrain_project(
    job_store: JobStore,
    job: Job,
    store: ModelStore,
    *,
    url: str | None,
    key: str | None,
    options: RetrainOptions,
) -> tuple[JobState, JobResult]:
    """Learn from a project, judge what came of it, and do what follows.

    Args:
        job_store: All trainings; told how this one stands.
        job: This one.
        store: Of versions.
        url: Of Label Studio.
        key: A token.
        options: How to train.

    Returns:
        How it ended, and what came of it.

    Raises:
        TagalongError: If it cannot be done.
    """
    from tagalong.backend.batch.next_tasks import prelabel_next_tasks
    from tagalong.backend.label_studio.api.client import connect

    if not url or not key:
        raise InputError(
            "Label Studio's address and key are not known: set LABEL_STUDIO_URL and "
            "LABEL_STUDIO_API_KEY"
        )
    with connect(url, key) as studio:
        outcome = job.result
        if outcome is None:
            outcome = train_and_evaluate(studio, job, job_store, store, options)
            job_store.write_decision(job.id, outcome)
        if not outcome.should_promote:
            return JobState.REJECTED, outcome
        job_store.set_status_message(job.id, "promoting")
        state, outcome = promote_version(studio, job, job_store, store, outcome)
    if state is JobState.PROMOTED and options.prelabel_tasks:
        job_store.set_status_message(job.id, "pre-labelling what comes next")
        journal = job_store.work_dir(job) / "batch.journal"
        tier = cast("TierName", job.tier)
        try:
            count = prelabel_next_tasks(
                store,
                tier,
                ProjectOptions(project=job.project, url=url, key=key),
                options.prelabel_tasks,
                load=partial(load_tier_version, use_openvino=True),
                journal=journal,
                notify=lambda sentence: error_console.print(sentence, markup=False),
            )
        except TagalongError as error:  # it serves all the same
            note = f"Not all that comes next was pre-labelled: {error}."
        else:
            note = f"{count:,} tasks that nobody has annotated were pre-labelled by it."
        outcome = replace(outcome, notes=(*outcome.notes, note))
    return state, outcome


@contextmanager
def interrupting_on_sigterm() -> Iterator[None]:
    """Take a request to end for Ctrl-C, which leaves everything as it was.

    Yields:
        Nothing.
    """

    def interrupted(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _is_cancel_requested(runs: JobStore, number: int) -> bool:
    """Whether nobody wants a training any more."""
    run = runs.read_job(number)
    return run is not None and run.cancel_requested
