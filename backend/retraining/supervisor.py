"""Sees to it that trainings which are due are run, one at a time, each in a process of its own.

Nothing that matters is only in memory. A server that is started again finds what runs and what was
killed: whoever trains holds a lock that the system takes back with the process, so a training that
is noted as running and whose lock is free has been killed, and is begun again where it was.
"""

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tagalong.backend.events.store import EventStore
from tagalong.backend.processes import terminate
from tagalong.backend.retraining.job import Job, JobResult, JobState
from tagalong.backend.retraining.job_store import EX_TEMPFAIL, JobStore, send_signal
from tagalong.backend.retraining.trigger import Debouncer, RetrainSettings
from tagalong.ner.errors import StateFileError

POLL_SECONDS = 1.0  # seconds between looks
MAX_ATTEMPTS = 3  # of a training that is killed, before something is wrong with it
RETRY_DELAY_SECONDS = (
    5.0  # seconds before a training that was killed is begun again; doubled each time
)
TERMINATION_GRACE_SECONDS = 20.0  # seconds from asking a process to end until making it

log = logging.getLogger(__name__)


class Supervisor:
    """Watches the journal and the trainings, in a thread of its own.

    Args:
        job_store: The trainings.
        event_store: The events.
        settings: How to train.
        tier: That annotations train by themselves.
        log_path: Where trainers write what they have to say.
        on_finished: Told of every training that has ended, whoever ran it.
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
        self._job_store, self._event_store, self._settings, self._tier = (
            job_store,
            event_store,
            settings,
            tier,
        )
        self._log_path, self._on_finished = log_path, on_finished
        self._debouncer = Debouncer(settings)
        self._child: tuple[int, subprocess.Popen[bytes]] | None = None
        self._retry_at = 0.0
        self._terminated_at: dict[int, float] = {}
        self._unfinished_ids: set[int] = set()
        self._wake_event, self._is_closing = threading.Event(), False
        self._thread = threading.Thread(target=self._poll_loop, name="retraining", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def wake(self) -> None:
        """Look at once."""
        self._wake_event.set()

    def close(self) -> None:
        """Stop watching; a training that runs is ended, and goes on when a server starts again."""
        self._is_closing = True
        self._wake_event.set()
        if self._thread.is_alive():
            self._thread.join(POLL_SECONDS + 5)
        if self._child is not None:
            terminate(self._child[1], grace_seconds=TERMINATION_GRACE_SECONDS)
        self._job_store.close()

    def _poll_loop(self) -> None:
        """Look again and again; a file that cannot be used now may be usable later."""
        told = ""
        while not self._is_closing:
            try:
                self.poll()
                told = ""
            except (StateFileError, OSError) as error:
                if str(error) != told:
                    log.warning("%s", told := str(error))
            self._wake_event.wait(POLL_SECONDS)
            self._wake_event.clear()

    def poll(self) -> None:
        """Look once: begin what is due, end what is unwanted.

        Raises:
            StateFileError: If a file cannot be used.
        """
        self._check_child_exit()
        self._enqueue_due()
        unfinished = self._job_store.list_unfinished()
        self._report_finished(unfinished)
        for run in unfinished:
            if run.cancel_requested:
                self._cancel(run)
        running = [run for run in unfinished if run.state is JobState.RUNNING]
        if self._child is not None or any(map(self._is_alive, running)):
            return  # one at a time
        for run in unfinished:
            if run.cancel_requested:
                continue
            if run.attempts >= MAX_ATTEMPTS:
                self._finish(
                    run,
                    JobState.FAILED,
                    f"{MAX_ATTEMPTS} times its process was ended: see {self._log_path}",
                )
            elif not self._settings.command:
                self._finish(run, JobState.FAILED, self._settings.unavailable_reason)
            elif time.monotonic() >= self._retry_at:
                self._start_process(run)
                return

    def _check_child_exit(self) -> None:
        """Note that our own process has ended."""
        if self._child is None or (status := self._child[1].poll()) is None:
            return
        number, self._child = self._child[0], None
        run = self._job_store.read_job(number)
        if run is not None and not run.state.is_finished and status != EX_TEMPFAIL:
            log.warning("training %d ended with exit status %d", number, status)
            self._retry_at = time.monotonic() + RETRY_DELAY_SECONDS * 2 ** (run.attempts - 1)

    def _report_finished(self, unfinished: Sequence[Job]) -> None:
        """Tell of what has ended since the last look, whoever ran it."""
        now = {run.id for run in unfinished}
        for number in sorted(self._unfinished_ids - now):
            if (run := self._job_store.read_job(number)) is not None:
                self._on_finished(run)
        self._unfinished_ids = now

    def _enqueue_due(self) -> None:
        """Have a training wait for each project that has been annotated enough."""
        if not self._settings.min_annotations:
            return
        answered = self._job_store.read_last_event_ids(self._tier)
        for project in self._event_store.read_annotated_projects():
            count, last = self._event_store.count_annotations(
                project, after_event_id=answered.get(project, 0)
            )
            if self._debouncer.is_due(project, count, last):
                reason = f"{count:,} new or changed annotation{'s' * (count != 1)}"
                self._job_store.enqueue(project, self._tier, reason=reason, last_event_id=last)
                self._debouncer.reset(project)

    def _start_process(self, run: Job) -> None:
        """Start a process for a training."""
        self._job_store.mark_running(run.id)
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        with self._log_path.open("ab") as said:
            os.chmod(self._log_path, 0o600)  # noqa: PTH101
            process = subprocess.Popen(  # noqa: S603 (our own command)
                [*self._settings.command, "--run", str(run.id)],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self._settings.environment},
                stdout=said,
                stderr=said,
                start_new_session=True,  # Ctrl-C is for the server
            )
        self._child = run.id, process

    def _is_alive(self, run: Job) -> bool:
        """Whether a process runs it: ours, or one that an earlier server began."""
        return self._is_child(run) or self._job_store.is_locked(run)

    def _is_child(self, run: Job) -> bool:
        """Whether it is the one that this server began."""
        return self._child is not None and self._child[0] == run.id

    def _cancel(self, run: Job) -> None:
        """End a training that nobody wants any more."""
        if run.state is JobState.WAITING or not self._is_alive(run):
            self._terminated_at.pop(run.id, None)
            self._finish(run, JobState.CANCELLED, "it was cancelled")
            return
        process = self._child[1].pid if self._child and self._is_child(run) else run.pid
        since = self._terminated_at.setdefault(run.id, time.monotonic())
        late = time.monotonic() - since > TERMINATION_GRACE_SECONDS
        send_signal(process, signal.SIGKILL if late else signal.SIGTERM)

    def _finish(self, run: Job, state: JobState, reason: str) -> None:
        """Note for its process how a training has ended."""
        self._job_store.remove_work_dir(run)
        self._job_store.finish(run.id, state, JobResult(reason))
