"""Requests for retraining jobs: enqueue and cancel."""

import signal

from tagalong.backend.events.store import EventStore
from tagalong.backend.retraining.job import JobResult, JobState
from tagalong.backend.retraining.job_store import JobStore, send_signal, server_state_dir
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.errors import TrainingError


def enqueue_job(job_store: JobStore, store: ModelStore, project: int, tier: str) -> int:
    """Enqueue a retraining job that was requested on the command line.

    Returns the id of the job; that of an interrupted job of the project, if there is one. Raises
    `TrainingError` if a job of the project is running.
    """
    for other in job_store.list_active():
        if (other.project, other.tier, other.state) == (project, tier, JobState.RUNNING):
            if job_store.is_locked(other):
                raise TrainingError(
                    f"a training of project {project} is running: wait for it, or cancel it with "
                    f"`tagalong retrain --project {project} --cancel`",
                    code="training-in-progress",
                )
            return other.id  # its process was killed, and this one continues it
    events_path = server_state_dir(store.root) / "journal.sqlite"
    last_event_id = 0
    if events_path.exists():
        events = EventStore(events_path)
        _, last_event_id = events.count_annotations(project)
        events.close()
    return job_store.enqueue(project, tier, reason="the command line", last_event_id=last_event_id)


def cancel_jobs(job_store: JobStore, project: int) -> int:
    """Cancel the jobs of a project, in whatever process they run.

    Returns the number of jobs.
    """
    count = job_store.request_cancel(project)
    for job in job_store.list_active():
        if job.project != project:
            continue
        if job.state is JobState.RUNNING and job_store.is_locked(job):
            send_signal(job.pid, signal.SIGTERM)  # its process records the end
        else:
            job_store.finish(job.id, JobState.CANCELLED, JobResult("it was cancelled"))
    return count
