"""A retraining job from start to end; every step is recorded, so that a killed job continues."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import FrameType
from typing import cast

from tagalong.backend.batch.models import choose_models
from tagalong.backend.batch.next_tasks import prelabel_next_tasks
from tagalong.backend.batch.source_and_sink import ProjectOptions
from tagalong.backend.label_studio.api.client import connect
from tagalong.backend.models.load import load_version
from tagalong.backend.models.openvino.compile import should_use_openvino
from tagalong.backend.retraining.job import Job, JobResult, JobState
from tagalong.backend.retraining.job_store import EX_TEMPFAIL, JobStore
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.errors import InputError, TagalongError
from tagalong.ner.tiers import TierName
from tagalong.training.jobs.promote import promote_version
from tagalong.training.jobs.retrain_options import RetrainOptions
from tagalong.training.jobs.retrain_project import train_and_evaluate
from tagalong.training.loop.trainer import ProgressCallback

log = logging.getLogger(__name__)

NICENESS = 10  # of 19: a server started the job, and its requests come first


def run_job(
    job_store: JobStore,
    job_id: int,
    store: ModelStore,
    options: RetrainOptions,
    *,
    on_progress: ProgressCallback = lambda _: None,
) -> Job:
    """Run a job to its end, and record the result.

    Args:
        job_store: Has the job.
        job_id: Its id.
        store: Receives the version.
        options: How to retrain.
        on_progress: Called after every step and every evaluation of the training.

    Returns:
        The finished job.

    Raises:
        InputError: If there is no such unfinished job.
        KeyboardInterrupt: If the job was interrupted and not cancelled; it can continue.
        SystemExit: If another process runs a job of the same project and tier.
    """
    job = job_store.read_job(job_id)
    if job is None or job.state.is_finished:
        raise InputError(f"there is no unfinished training {job_id}", code="no-such-training")
    with job_store.lock(job.project, job.tier) as locked:
        if not locked:
            raise SystemExit(EX_TEMPFAIL)
        if job.state is JobState.WAITING:
            job_store.mark_running(job_id)
        job_store.set_pid(job_id, os.getpid())
        with _interrupting_on_sigterm():
            try:
                state, result = _retrain(job_store, job, store, options, on_progress)
            except KeyboardInterrupt:
                if not _is_cancel_requested(job_store, job_id):
                    raise
                state, result = JobState.CANCELLED, JobResult("it was cancelled")
            except (TagalongError, OSError) as error:
                state, result = JobState.FAILED, JobResult(str(error))
        job_store.remove_work_dir(job)
        job_store.finish(job_id, state, result)
    finished = job_store.read_job(job_id)
    assert finished is not None  # noqa: S101 (rows are never removed)
    return finished


def _retrain(
    job_store: JobStore,
    job: Job,
    store: ModelStore,
    options: RetrainOptions,
    on_progress: ProgressCallback,
) -> tuple[JobState, JobResult]:
    url, key = options.label_studio_url, options.label_studio_key
    if not url or not key:
        raise InputError(
            "the address or the key of Label Studio is unknown: set LABEL_STUDIO_URL and "
            "LABEL_STUDIO_API_KEY",
            code="label-studio-unknown",
        )
    with connect(url, key) as client:
        result = job.result
        if result is None:
            result = train_and_evaluate(client, job, job_store, store, options, on_progress)
            job_store.write_decision(job.id, result)
        if not result.should_promote:
            return JobState.REJECTED, result
        job_store.set_status_message(job.id, "promoting")
        state, result = promote_version(client, job, job_store, store, result)
    if state is JobState.PROMOTED and options.prelabel_tasks:
        job_store.set_status_message(job.id, "pre-labelling the next tasks")
        use_openvino = should_use_openvino()
        try:
            load = partial(load_version, use_openvino=use_openvino)
            count = prelabel_next_tasks(
                choose_models(store, cast(TierName, job.tier), load=load),
                ProjectOptions(project=job.project, url=url, key=key),
                options.prelabel_tasks,
                journal=job_store.work_dir(job) / "batch.journal",
                notify=log.info,
            )
        except TagalongError as error:  # the version is served all the same
            note = f"Not all of the next tasks were pre-labelled: {error}."
        else:
            note = f"{count:,} tasks without annotations were pre-labelled."
        result = replace(result, notes=(*result.notes, note))
    return state, result


@contextmanager
def _interrupting_on_sigterm() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C, which leaves a job that can continue."""

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _is_cancel_requested(job_store: JobStore, job_id: int) -> bool:
    job = job_store.read_job(job_id)
    return job is not None and job.cancel_requested


def describe_job(job: Job) -> str:
    """Describe the end of a job in one sentence."""
    result = job.result
    if result is None:
        return f"The training is {job.state}."
    head = {
        JobState.PROMOTED: f"{result.version} is promoted: ",
        JobState.REJECTED: f"{result.version} is published, but not promoted: ",
    }.get(job.state, f"The training {job.state}: ")
    return f"{head}{result.reason}."
