"""What is known of trainings, in one SQLite file that the server and the trainers share.

A training waits, runs, and ends in one of four ways. Of a tier of a project, one waits at most and
one runs at most: the file itself refuses a second.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backend.database import Database
from backend.retraining.run import Outcome, Run, RunState
from ner.errors import JournalError

FORMAT = 1  # of the table; goes up when it changes
TABLES = """
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    project INTEGER NOT NULL,
    tier TEXT NOT NULL,
    reason TEXT NOT NULL,
    upto INTEGER NOT NULL,
    state TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    process INTEGER NOT NULL DEFAULT 0,
    unwanted INTEGER NOT NULL DEFAULT 0,
    asked TEXT NOT NULL,
    ended TEXT NOT NULL DEFAULT '',
    standing TEXT NOT NULL DEFAULT '',
    outcome TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX IF NOT EXISTS one_waits ON runs (project, tier) WHERE state = 'waiting';
CREATE UNIQUE INDEX IF NOT EXISTS one_runs ON runs (project, tier) WHERE state = 'running';
"""
ELSEWHERE = 75  # exit status of a trainer that finds another one at the same work (EX_TEMPFAIL)
COLUMNS = (
    "id, project, tier, reason, upto, state, tries, process, unwanted, asked, ended, standing, "
    "outcome"
)


def server_home(models: Path) -> Path:
    """Where a server keeps what it knows, beside the versions it serves.

    Args:
        models: The folder of model versions.

    Returns:
        A hidden folder in it, which may not be there yet.
    """
    return models / ".server"


class Runs:
    """The trainings of a store of versions.

    Args:
        models: The folder of model versions.
    """

    def __init__(self, models: Path) -> None:
        self._home = server_home(models)
        self._database = Database(
            self._home / "runs.sqlite", TABLES, version=FORMAT, costs="nothing can be retrained"
        )

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._database.close()

    @property
    def error(self) -> str | None:
        """Why the last use of the file failed, one sentence; None where it did not."""
        return self._database.error

    def ask(self, project: int, tier: str, *, reason: str, upto: int = 0) -> int:
        """Have a training wait, unless one does already: then that answers for this event too.

        Args:
            project: Whose annotations to learn from.
            tier: What to train.
            reason: Who or what asks for it.
            upto: Id of the last event that it answers for.

        Returns:
            The id of the training that waits.

        Raises:
            JournalError: If the file cannot be used.
        """
        with self._database.used() as connection:
            (number,) = connection.execute(
                "INSERT INTO runs (project, tier, reason, upto, state, asked) "
                "VALUES (?, ?, ?, ?, 'waiting', ?) ON CONFLICT (project, tier) "
                "WHERE state = 'waiting' DO UPDATE SET upto = MAX(upto, excluded.upto) "
                "RETURNING id",
                (project, tier, reason, upto, _now()),
            ).fetchone()
            return int(number)

    def begin(self, number: int) -> None:
        """Note that a training is begun, for the first time or again.

        Args:
            number: Its id; it waits or runs, and no other of its project and tier runs.

        Raises:
            JournalError: If the file cannot be used.
        """
        self._change(
            "state = 'running', tries = tries + 1, standing = '', process = 0",
            *("WHERE id = ? AND state IN ('waiting', 'running')", number),
        )

    def tell(self, number: int, standing: str) -> None:
        """Note what a training does now, if the file can be used: no training fails for that.

        Args:
            number: Its id.
            standing: A few words.
        """
        with suppress(JournalError):
            self._change("standing = ?", "WHERE id = ?", standing, number)

    def holds(self, number: int, process: int) -> None:
        """Note which process runs a training.

        Args:
            number: Its id.
            process: Of the system.

        Raises:
            JournalError: If the file cannot be used.
        """
        self._change("process = ?", "WHERE id = ?", process, number)

    def decide(self, number: int, outcome: Outcome) -> None:
        """Note what a training has led to, before anything is done about it.

        Args:
            number: Its id. Should its process be killed now, the next one goes on from here.
            outcome: What to do.

        Raises:
            JournalError: If the file cannot be used.
        """
        self._change("outcome = ?", "WHERE id = ?", json.dumps(outcome.to_json()), number)

    def end(self, number: int, state: RunState, outcome: Outcome) -> None:
        """Note what came of a training; what has ended stays as it ended.

        Args:
            number: Its id.
            state: One that is over.
            outcome: What came of it.

        Raises:
            JournalError: If the file cannot be used.
        """
        self._change(
            "state = ?, outcome = ?, ended = ?, standing = '', process = 0",
            "WHERE id = ? AND state IN ('waiting', 'running')",
            *(state, json.dumps(outcome.to_json()), _now(), number),
        )

    def cancel(self, project: int, tier: str | None = None) -> int:
        """Want the trainings of a project no more; one that runs ends as soon as it can.

        Args:
            project: Its id.
            tier: Only of this one.

        Returns:
            How many had not ended.

        Raises:
            JournalError: If the file cannot be used.
        """
        where = "WHERE project = ? AND (? IS NULL OR tier = ?) AND state IN ('waiting', 'running')"
        return self._change("unwanted = 1", where, project, tier, tier)

    def run(self, number: int) -> Run | None:
        """A training by its id; None where there is none."""
        return next(iter(self._select("WHERE id = ?", number)), None)

    def answering(self, project: int, event: int) -> Run | None:
        """The first training of a project that answers for an event; None where none does yet."""
        where = "WHERE project = ? AND upto >= ? ORDER BY id LIMIT 1"
        return next(iter(self._select(where, project, event)), None)

    def unfinished(self) -> list[Run]:
        """Those that run, then those that wait, each in the order they were asked for."""
        return self._select("WHERE state IN ('waiting', 'running') ORDER BY state, id")

    def latest(self, *, limit: int) -> list[Run]:
        """The last trainings.

        Args:
            limit: At most this many.

        Returns:
            The last asked for first.

        Raises:
            JournalError: If the file cannot be used.
        """
        return self._select("ORDER BY id DESC LIMIT ?", limit)

    def answered_for(self, tier: str) -> dict[int, int]:
        """Id of the last event that trainings of a tier answer for, by project."""
        query = "SELECT project, MAX(upto) FROM runs WHERE tier = ? GROUP BY project"
        with self._database.used() as connection:
            return dict(connection.execute(query, (tier,)).fetchall())

    @contextmanager
    def alone(self, project: int, tier: str) -> Iterator[bool]:
        """Keep every other training of a tier of a project out, in whatever process.

        Args:
            project: Whose.
            tier: What is trained.

        Yields:
            True while it is locked; False where another process has locked it. The system unlocks
            what a process that was killed had locked.
        """
        self._home.mkdir(parents=True, exist_ok=True)
        with (self._home / f"training-{tier}-{project}.lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def is_held(self, run: Run) -> bool:
        """Whether a process runs a training now."""
        with self.alone(run.project, run.tier) as ours:
            return not ours

    def place(self, run: Run) -> Path:
        """Where a training keeps what it learns from until it has ended: a folder of its own."""
        return self._home / f"training-{run.id}"

    def clear(self, run: Run) -> None:
        """Remove what a training has kept; before its end is noted, so that none is left over."""
        shutil.rmtree(self.place(run), ignore_errors=True)

    def _change(self, what: str, where: str, *values: int | str | None) -> int:
        """Change some rows; how many were."""
        with self._database.used() as connection:
            return connection.execute(f"UPDATE runs SET {what} {where}", values).rowcount  # noqa: S608

    def _select(self, where: str, *values: int) -> list[Run]:
        """Some rows."""
        with self._database.used() as connection:
            rows = connection.execute(f"SELECT {COLUMNS} FROM runs {where}", values)  # noqa: S608
            return [_run(row) for row in rows]


def _run(row: tuple[Any, ...]) -> Run:
    """A training as a row has it."""
    fields = dict(zip(COLUMNS.split(", "), row, strict=True))
    outcome, ended = fields["outcome"], fields["ended"]
    return Run(
        **fields
        | {
            "state": RunState(fields["state"]),
            "unwanted": bool(fields["unwanted"]),
            "asked": datetime.fromisoformat(fields["asked"]),
            "ended": datetime.fromisoformat(ended) if ended else None,
            "outcome": Outcome.from_json(json.loads(outcome)) if outcome else None,
        }
    )


def _now() -> str:
    """This moment."""
    return datetime.now(UTC).isoformat()


def interrupt(process: int, signal: int) -> None:
    """Send a signal to a process that may have ended.

    Args:
        process: Its id; 0 for none.
        signal: Of the system.
    """
    if process:
        with suppress(ProcessLookupError):
            os.kill(process, signal)
