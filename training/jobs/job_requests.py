"""Requests for retraining jobs: options, enqueue and cancel; light to import, for commands."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tagalong.backend.events.store import EventStore
from tagalong.backend.retraining.job import JobResult, JobState, PromotionPolicy
from tagalong.backend.retraining.job_store import JobStore, send_signal
from tagalong.backend.storage.model_store import ModelStore
from tagalong.backend.storage.project_key import ProjectKey
from tagalong.backend.storage.state_dir import event_store_path
from tagalong.ner.errors import TrainingError

DEFAULT_HELD_OUT_SHARE = 0.2
LOCK_TIMEOUT_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainOptions:
    """How to retrain on a project."""

    label_studio_url: str | None  # None if unknown
    label_studio_key: str | None
    promotion_policy: PromotionPolicy = "auto"
    held_out_share: float = DEFAULT_HELD_OUT_SHARE  # of the documents; never trained on
    recipe_from: str | None = None  # a version; None for the current one
    version_name: str | None = None  # prefix of the version name; None for that of the project
    prelabel_tasks: int = 0  # unannotated tasks that the promoted version predicts
    allowed_hosts: frozenset[str] = frozenset()  # from which texts may be downloaded
    warm_start: bool = False  # from the weights of the current version instead of its base


@contextmanager
def claim_job(
    job_store: JobStore, store: ModelStore, project: ProjectKey, tier: str
) -> Iterator[int]:
    """Lock a project, and enqueue a retraining job that was requested on the command line.

    While the lock is held, no server starts or ends the job. Yields its id; that of an interrupted
    job of the project, if there is one. Raises `TrainingError` if a job of the project is running.
    """
    # A server that polls holds the lock for an instant.
    with job_store.lock(project, tier, timeout_seconds=LOCK_TIMEOUT_SECONDS) as is_locked:
        if not is_locked:
            raise TrainingError(
                f"a training of project {project.id} is running: wait for it, or cancel it with "
                f"`tagalong retrain --project {project.id} --cancel`",
                code="training-in-progress",
            )
        yield _enqueue_job(job_store, store, project, tier)


def _enqueue_job(job_store: JobStore, store: ModelStore, project: ProjectKey, tier: str) -> int:
    for other in job_store.list_active():
        if (other.project, other.tier, other.state) == (project, tier, JobState.RUNNING):
            return other.id  # its process was killed, and this one continues it
    events_path = event_store_path(store.root)
    last_event_id = 0
    if events_path.exists():
        events = EventStore(events_path)
        _, last_event_id = events.count_annotations(project)
        events.close()
    return job_store.enqueue(project, tier, reason="the command line", last_event_id=last_event_id)


def cancel_jobs(job_store: JobStore, project: int) -> int:
    """Cancel the jobs for a project's id, in whatever process they run, and return their number."""
    jobs = [job for job in job_store.list_active() if job.project.id == project]
    for key in {job.project for job in jobs}:
        job_store.request_cancel(key)
    for job in jobs:
        if job.state is JobState.RUNNING and job_store.is_locked(job):
            send_signal(job.pid, signal.SIGTERM)  # its process records the end
        else:
            job_store.finish(job.id, JobState.CANCELLED, JobResult("it was cancelled"))
    return len(jobs)
