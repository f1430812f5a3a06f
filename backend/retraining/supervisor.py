"""Runs retraining jobs, one at a time, each in its own process.

All state that matters is on disk. Each trainer holds a lock that the system releases with the
process. So a restarted server can tell a running job from a killed one, which it starts again.
"""

import logging
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tagalong.backend.events.store import EventStore
from tagalong.backend.processes import start_logged, terminate
from tagalong.backend.retraining.job import Job, JobResult, JobState
from tagalong.backend.retraining.job_store import EX_TEMPFAIL, JobStore, send_signal
from tagalong.backend.retraining.trigger import Debouncer, RetrainSettings
from tagalong.backend.storage.project_key import ProjectKey
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.errors import StateFileError

POLL_SECONDS = 1.0
MAX_ATTEMPTS = 3  # a job whose process was killed so often fails
RETRY_DELAY_SECONDS = 5.0  # after the first killed attempt; doubled after each further one
TERMINATION_GRACE_SECONDS = 20.0  # between SIGTERM and SIGKILL

log = logging.getLogger(__name__)


class Supervisor:
    """Queues due jobs and runs queued ones, in a thread of its own.

    Annotations trigger jobs of `tier`, the log has the output of the trainers, and `on_finished`
    is called with every finished job, whichever process ran it.
    """

    def __init__(
        self,
        job_store: JobStore,
        event_store: EventStore,
        settings: RetrainSettings,
        *,
        tier: str,
        log_path: Path,
        on_finished: Callable[[Job], None] = lambda _: None,
    ) -> None:
        self._job_store, self._event_store = job_store, event_store
        self._settings, self._tier = settings, tier
        self._log_path, self._on_finished = log_path, on_finished
        self._debouncer = Debouncer(settings.min_annotations)
        self._child: subprocess.Popen[bytes] | None = None
        self._child_job_id = 0
        self._retry_at = 0.0  # monotonic seconds, as below
        self._terminated_at: dict[int, float] = {}  # by job id
        self._active_ids: set[int] = set()
        self._wake_event, self._is_closing = threading.Event(), False
        self._thread = threading.Thread(target=self._poll_loop, name="retraining", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Poll at once."""
        self._wake_event.set()

    def close(self) -> None:
        """Stop the thread and a running trainer; its job continues after the next start."""
        self._is_closing = True
        self._wake_event.set()
        if self._thread.is_alive():
            self._thread.join(POLL_SECONDS + 5)
        if self._child is not None:
            terminate(self._child, grace_seconds=TERMINATION_GRACE_SECONDS)
        self._job_store.close()

    def _poll_loop(self) -> None:
        """Poll until `close`; after a failed write, also try whether the file can be written."""
        stores = self._event_store, self._job_store
        for store in stores:
            store.probe_writing()  # so that a full disk is known before the first event
        last_error = ""
        while not self._is_closing:
            for store in stores:
                if store.write_error is not None:
                    store.probe_writing()
            try:
                self.poll()
                last_error = ""
            except StateFileError:  # the store logs it, and may become usable again
                pass
            except OSError as error:
                kind = type(error).__name__
                if kind != last_error:
                    log.warning("a retraining job cannot be run: %s", last_error := kind)
            self._wake_event.wait(POLL_SECONDS)
            self._wake_event.clear()

    def poll(self) -> None:
        """Cancel unwanted jobs, and start the next one if none runs.

        Raises `StateFileError` if a file cannot be used, `OSError` if no process can be started.
        """
        self._check_child_exit()
        self._enqueue_due()
        active = self._job_store.list_active()
        self._report_finished(active)
        for job in active:
            if job.cancel_requested:
                self._cancel(job)
        running = [job for job in active if job.state is JobState.RUNNING]
        if self._child is not None or any(map(self._is_alive, running)):
            return
        for job in active:
            # A command may hold the lock of a job that it is about to run.
            if job.cancel_requested or self._job_store.is_locked(job):
                continue
            if job.attempts >= MAX_ATTEMPTS:
                reason = f"its process was killed {MAX_ATTEMPTS} times: see {self._log_path}"
                self._job_store.finish(job.id, JobState.FAILED, JobResult(reason))
            elif not self._settings.command:
                reason = self._settings.unavailable_reason
                self._job_store.finish(job.id, JobState.FAILED, JobResult(reason))
            elif time.monotonic() >= self._retry_at:
                self._start_process(job)
                return

    def _check_child_exit(self) -> None:
        """Delay the next attempt if our process ended without finishing its job."""
        if self._child is None or (status := self._child.poll()) is None:
            return
        job_id, self._child_job_id, self._child = self._child_job_id, 0, None
        job = self._job_store.read_job(job_id)
        if job is not None and not job.state.is_finished and status != EX_TEMPFAIL:
            log.warning("retraining job %d ended with exit status %d", job_id, status)
            self._retry_at = time.monotonic() + RETRY_DELAY_SECONDS * 2 ** (job.attempts - 1)

    def _report_finished(self, active: Sequence[Job]) -> None:
        """Call `on_finished` for the jobs that ended since the last poll."""
        active_ids = {job.id for job in active}
        for job_id in sorted(self._active_ids - active_ids):
            if (job := self._job_store.read_job(job_id)) is not None:
                self._on_finished(job)
        self._active_ids = active_ids

    def _enqueue_due(self) -> None:
        if not self._settings.min_annotations:
            return
        covered = self._job_store.read_last_event_ids(self._tier)
        for project in self._event_store.read_annotated_projects():
            # Jobs of earlier releases know only the id.
            after = covered.get(project, covered.get(ProjectKey(project.id), 0))
            count, last_event_id = self._event_store.count_annotations(
                project, after_event_id=after
            )
            if self._debouncer.is_due(project, count, last_event_id):
                reason = pluralize(count, "new or changed annotation")
                enqueue = self._job_store.enqueue
                enqueue(project, self._tier, reason=reason, last_event_id=last_event_id)
                self._debouncer.reset(project)

    def _start_process(self, job: Job) -> None:
        self._job_store.mark_running(job.id)
        command = [*self._settings.command, "--run", str(job.id)]
        environment = self._settings.environment
        self._child = start_logged(command, self._log_path, environment=environment)
        self._child_job_id = job.id

    def _is_alive(self, job: Job) -> bool:
        """Whether a process runs the job: ours, or one that an earlier server started."""
        return job.id == self._child_job_id or self._job_store.is_locked(job)

    def _cancel(self, job: Job) -> None:
        """Stop the process of a job: first SIGTERM, after the grace period SIGKILL."""
        if job.state is JobState.WAITING or not self._is_alive(job):
            self._terminated_at.pop(job.id, None)
            self._job_store.finish(job.id, JobState.CANCELLED, JobResult("it was cancelled"))
            return
        pid = self._child.pid if self._child and job.id == self._child_job_id else job.pid
        since = self._terminated_at.setdefault(job.id, time.monotonic())
        is_late = time.monotonic() - since > TERMINATION_GRACE_SECONDS
        send_signal(pid, signal.SIGKILL if is_late else signal.SIGTERM)
