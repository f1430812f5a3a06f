"""A retraining job from start to end; every step is recorded, so that a killed job continues."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from types import FrameType

from tagalong.backend.batch.label_studio_project import prelabel_next_tasks
from tagalong.backend.batch.models import choose_models
from tagalong.backend.batch.source_and_sink import ProjectOptions
from tagalong.backend.label_studio.api.client import connect
from tagalong.backend.label_studio.api.outage_retry import RateLimitedRetry
from tagalong.backend.label_studio.shown_version import announce_promotion
from tagalong.backend.models.load import load_version
from tagalong.backend.models.openvino.compile import should_use_openvino
from tagalong.backend.retraining.job import Job, JobResult, JobState
from tagalong.backend.retraining.job_store import EX_TEMPFAIL, JobStore
from tagalong.backend.storage.assignments import assign_model
from tagalong.backend.storage.model_store import ModelStore
from tagalong.backend.storage.project_key import ProjectKey
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.errors import (
    CurrentVersionChangedError,
    InputError,
    LabelStudioError,
    StateFileError,
    TagalongError,
    TrainingError,
    describe_fault,
)
from tagalong.training.jobs.job_requests import RetrainOptions
from tagalong.training.jobs.retrain_project import Retraining, read_project, train_and_evaluate
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
    """Run a job that a server has enqueued to its end, as `run_claimed_job` does.

    Raises:
        InputError: If there is no such unfinished job.
        KeyboardInterrupt: If the job was interrupted and not cancelled; it can continue.
        SystemExit: If another process runs a job of the same project and tier.
    """
    job = _read_unfinished_job(job_store, job_id)
    with job_store.lock(job.project, job.tier) as locked:
        if not locked:
            raise SystemExit(EX_TEMPFAIL)
        return run_claimed_job(job_store, job_id, store, options, on_progress=on_progress)


def find_project_key(options: RetrainOptions, project: int) -> ProjectKey:
    """The key of a project, for `claim_job`; without a time of creation if Label Studio fails.

    A job for that key fails as well, and so the status page shows why.
    """
    try:
        with connect(*_read_access(options), retries=0) as client:
            return ProjectKey(project, client.get_project(project).created)
    except TagalongError:
        return ProjectKey(project)


def run_claimed_job(
    job_store: JobStore,
    job_id: int,
    store: ModelStore,
    options: RetrainOptions,
    *,
    on_progress: ProgressCallback = lambda _: None,
) -> Job:
    """Run a job to its end, record the result, and return the finished job.

    The caller holds the lock of the project and tier, as in `claim_job`. Raises `InputError` if
    there is no such unfinished job, and KeyboardInterrupt if the job was interrupted and not
    cancelled; it can continue.
    """
    job = _read_unfinished_job(job_store, job_id)
    if job.state is JobState.WAITING:
        job_store.mark_running(job_id)
    job_store.set_pid(job_id, os.getpid())  # to which `--cancel` sends its signal
    with _interrupting_on_sigterm():
        try:
            state, result = _retrain(job_store, job, store, options, on_progress)
        except KeyboardInterrupt:
            if not _read_job(job_store, job_id).cancel_requested:
                job_store.mark_interrupted(job_id)
                raise
            state, result = JobState.CANCELLED, JobResult("it was cancelled")
        except (TagalongError, OSError) as error:
            log.info("the training failed: %s", describe_fault(error))  # commands print the reason
            state, result = JobState.FAILED, JobResult(str(error))
    job_store.finish(job_id, state, result)
    return _read_job(job_store, job_id)


def _read_unfinished_job(job_store: JobStore, job_id: int) -> Job:
    job = job_store.read_job(job_id)
    if job is None or job.state.is_finished:
        raise InputError(f"there is no unfinished training {job_id}", code="no-such-training")
    return job


def _read_job(job_store: JobStore, job_id: int) -> Job:
    job = job_store.read_job(job_id)
    assert job is not None  # noqa: S101 (rows are never removed)
    return job


def _read_access(options: RetrainOptions) -> tuple[str, str]:
    url, key = options.label_studio_url, options.label_studio_key
    if not url or not key:
        raise InputError(
            "the address or the key of Label Studio is unknown: set LABEL_STUDIO_URL and "
            "LABEL_STUDIO_API_KEY",
            code="label-studio-unknown",
        )
    return url, key


def _retrain(
    job_store: JobStore,
    job: Job,
    store: ModelStore,
    options: RetrainOptions,
    on_progress: ProgressCallback,
) -> tuple[JobState, JobResult]:
    url, key = _read_access(options)
    with connect(url, key) as client:
        retry = RateLimitedRetry(notify=partial(job_store.set_status_message, job.id))
        run = Retraining(job, job_store, store, options, client, retry, on_progress)
        result = job.result
        if result is None:
            result = train_and_evaluate(run)
            job_store.write_decision(job.id, result)  # a job that continues does not train again
        if not result.should_promote:
            return JobState.REJECTED, result
        run.show("promoting")
        state, result = promote_version(run, result)
    if state is JobState.PROMOTED and options.prelabel_tasks:
        run.show("pre-labelling the next tasks")
        load = partial(load_version, use_openvino=should_use_openvino())
        try:
            count = prelabel_next_tasks(
                choose_models(store, result.model or job.tier, load=load),
                ProjectOptions(
                    project=job.project.id, url=url, key=key, allowed_hosts=options.allowed_hosts
                ),
                options.prelabel_tasks,
                journal=job_store.work_dir(job.id) / "batch.journal",
                notify=partial(job_store.set_status_message, job.id),
            )
        except TagalongError as error:  # the version is served all the same
            note = f"Not all of the next tasks were pre-labelled: {error}."
        else:
            note = (
                f"{pluralize(count, 'task')} without annotations {'was' if count == 1 else 'were'} "
                "pre-labelled."
            )
        result = replace(result, notes=(*result.notes, note))
    return state, result


def promote_version(run: Retraining, result: JobResult) -> tuple[JobState, JobResult]:
    """Promote a version, assign its model, and set it as the model version of its project.

    A job promotes once: when it continues after its process was killed, it does not undo what
    somebody has promoted or rolled back since.

    Returns the final state and result of the job. Raises `TagalongError` if the version cannot be
    promoted; the current version stays.
    """
    job, store = run.job, run.store
    model, compared_model = result.model or job.tier, result.compared_model or job.tier
    try:
        project = read_project(run)
    except (LabelStudioError, TrainingError) as error:
        if isinstance(error, LabelStudioError) and error.kind != "missing":
            raise
        reason = (
            f"project {job.project.id} is gone: promote {result.version} with `tagalong models "
            "promote` if you need it"
        )
        return JobState.REJECTED, replace(result, should_promote=False, reason=reason)
    if not result.was_promoted:
        try:
            expected: str | None = result.compared_version
            if model != compared_model:
                store.check_current_unchanged(compared_model, result.version, expected or "")
                expected = None
            store.promote(model, result.version, expected_current=expected)
        except CurrentVersionChangedError as error:
            return JobState.REJECTED, replace(result, should_promote=False, reason=str(error))
        if model != compared_model:
            key = ProjectKey(project.id, project.created)
            assign_model(store.root, str(key), job.tier, model)
        result = replace(result, was_promoted=True)
        with suppress(StateFileError):  # it is promoted all the same
            run.job_store.write_decision(job.id, result)
    elif (current := store.current_version(model)) != result.version:
        after = f"{current} has replaced it since" if current else "it was rolled back since"
        reason = f"it was promoted, and {after}"
        return JobState.REJECTED, replace(result, reason=reason)
    try:
        note = announce_promotion(run.client, job.project.id, result.version)
    except LabelStudioError as error:  # it is promoted all the same
        note = f"The model version of the project could not be set in Label Studio: {error}."
    return JobState.PROMOTED, replace(result, notes=(*result.notes, note))


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
