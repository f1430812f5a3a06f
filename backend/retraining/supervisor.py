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

from backend.processes import end
from backend.retraining.due import Training, Watch
from backend.retraining.run import Outcome, Run, RunState
from backend.retraining.runs import ELSEWHERE, Runs, interrupt
from backend.server.journal import Journal
from ner.errors import JournalError

TICK = 1.0  # seconds between looks
TRIES = 3  # of a training that is killed, before something is wrong with it
PAUSE = 5.0  # seconds before a training that was killed is begun again; doubled each time
GRACE = 20.0  # seconds from asking a process to end until making it

log = logging.getLogger(__name__)


class Supervisor:
    """Watches the journal and the trainings, in a thread of its own.

    Args:
        runs: The trainings.
        journal: The events.
        training: How to train.
        tier: That annotations train by themselves.
        log_path: Where trainers write what they have to say.
        note: Told of every training that has ended, whoever ran it.
    """

    def __init__(
        self,
        runs: Runs,
        journal: Journal,
        training: Training,
        *,
        tier: str,
        log_path: Path,
        note: Callable[[Run], None] = lambda _: None,
    ) -> None:
        self._runs, self._journal, self._training, self._tier = runs, journal, training, tier
        self._log_path, self._note = log_path, note
        self._watch = Watch(training)
        self._child: tuple[int, subprocess.Popen[bytes]] | None = None
        self._not_before = 0.0
        self._asked_to_end: dict[int, float] = {}
        self._followed: set[int] = set()
        self._stirred, self._closing = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="retraining", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stir(self) -> None:
        """Look at once."""
        self._stirred.set()

    def close(self) -> None:
        """Stop watching; a training that runs is ended, and goes on when a server starts again."""
        self._closing = True
        self._stirred.set()
        if self._thread.is_alive():
            self._thread.join(TICK + 5)
        if self._child is not None:
            end(self._child[1], grace=GRACE)
        self._runs.close()

    def _run(self) -> None:
        """Look again and again; a file that cannot be used now may be usable later."""
        told = ""
        while not self._closing:
            try:
                self.look()
                told = ""
            except (JournalError, OSError) as error:
                if str(error) != told:
                    log.warning("%s", told := str(error))
            self._stirred.wait(TICK)
            self._stirred.clear()

    def look(self) -> None:
        """Look once: begin what is due, end what is unwanted.

        Raises:
            JournalError: If a file cannot be used.
        """
        self._reap()
        self._queue_due()
        unfinished = self._runs.unfinished()
        self._follow(unfinished)
        for run in unfinished:
            if run.unwanted:
                self._end_unwanted(run)
        running = [run for run in unfinished if run.state is RunState.RUNNING]
        if self._child is not None or any(map(self._is_alive, running)):
            return  # one at a time
        for run in unfinished:
            if run.unwanted:
                continue
            if run.tries >= TRIES:
                self._end(
                    run,
                    RunState.FAILED,
                    f"{TRIES} times its process was ended: see {self._log_path}",
                )
            elif not self._training.command:
                self._end(run, RunState.FAILED, self._training.why_not)
            elif time.monotonic() >= self._not_before:
                self._begin(run)
                return

    def _reap(self) -> None:
        """Note that our own process has ended."""
        if self._child is None or (status := self._child[1].poll()) is None:
            return
        number, self._child = self._child[0], None
        run = self._runs.run(number)
        if run is not None and not run.state.is_over and status != ELSEWHERE:
            log.warning("training %d ended with exit status %d", number, status)
            self._not_before = time.monotonic() + PAUSE * 2 ** (run.tries - 1)

    def _follow(self, unfinished: Sequence[Run]) -> None:
        """Tell of what has ended since the last look, whoever ran it."""
        now = {run.id for run in unfinished}
        for number in sorted(self._followed - now):
            if (run := self._runs.run(number)) is not None:
                self._note(run)
        self._followed = now

    def _queue_due(self) -> None:
        """Have a training wait for each project that has been annotated enough."""
        if not self._training.after:
            return
        answered = self._runs.answered_for(self._tier)
        for project in self._journal.projects():
            count, last = self._journal.annotated(project, after=answered.get(project, 0))
            if self._watch.is_due(project, count, last):
                reason = f"{count:,} new or changed annotation{'s' * (count != 1)}"
                self._runs.ask(project, self._tier, reason=reason, upto=last)
                self._watch.begun(project)

    def _begin(self, run: Run) -> None:
        """Start a process for a training."""
        self._runs.begin(run.id)
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        with self._log_path.open("ab") as said:
            os.chmod(self._log_path, 0o600)  # noqa: PTH101
            process = subprocess.Popen(  # noqa: S603 (our own command)
                [*self._training.command, "--run", str(run.id)],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self._training.environment},
                stdout=said,
                stderr=said,
                start_new_session=True,  # Ctrl-C is for the server
            )
        self._child = run.id, process

    def _is_alive(self, run: Run) -> bool:
        """Whether a process runs it: ours, or one that an earlier server began."""
        return self._is_child(run) or self._runs.is_held(run)

    def _is_child(self, run: Run) -> bool:
        """Whether it is the one that this server began."""
        return self._child is not None and self._child[0] == run.id

    def _end_unwanted(self, run: Run) -> None:
        """End a training that nobody wants any more."""
        if run.state is RunState.WAITING or not self._is_alive(run):
            self._asked_to_end.pop(run.id, None)
            self._end(run, RunState.CANCELLED, "it was cancelled")
            return
        process = self._child[1].pid if self._child and self._is_child(run) else run.process
        since = self._asked_to_end.setdefault(run.id, time.monotonic())
        late = time.monotonic() - since > GRACE
        interrupt(process, signal.SIGKILL if late else signal.SIGTERM)

    def _end(self, run: Run, state: RunState, reason: str) -> None:
        """Note for its process how a training has ended."""
        self._runs.clear(run)
        self._runs.end(run.id, state, Outcome(reason))
