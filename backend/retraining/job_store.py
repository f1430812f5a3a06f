"""What is known of trainings, in one SQLite file that the server and the trainers share.

A training waits, runs, and ends in one of four ways. Of a tier of a project, one waits at most and
one runs at most: the file itself refuses a second.
"""

import json
import os
import shutil
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tagalong.backend.retraining.job import Job, JobResult, JobState
from tagalong.backend.storage.database import Database, DatabaseSchema
from tagalong.backend.storage.locks import try_lock
from tagalong.ner.errors import StateFileError

SCHEMA = DatabaseSchema(
    version=1,
    sql="""
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
""",
)
EX_TEMPFAIL = 75  # exit status of a trainer that finds another one at the same work (EX_TEMPFAIL)
# The column names are those of the first release; AS gives each the name of its `Job` field.
JOB_COLUMNS = (
    "id, project, tier, reason, upto AS last_event_id, state, tries AS attempts, process AS pid, "
    "unwanted AS cancel_requested, asked AS requested_at, ended AS ended_at, "
    "standing AS status_message, outcome AS result"
)


def server_state_dir(models: Path) -> Path:
    """Where a server keeps what it knows, beside the versions it serves.

    Args:
        models: The folder of model versions.

    Returns:
        A hidden folder in it, which may not be there yet.
    """
    return models / ".server"


class JobStore:
    """The trainings of a store of versions.

    Args:
        models: The folder of model versions.
    """

    def __init__(self, models: Path) -> None:
        self._state_dir = server_state_dir(models)
        self._database = Database(
            self._state_dir / "runs.sqlite",
            SCHEMA,
            consequence="nothing can be retrained",
        )

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._database.close()

    @property
    def error(self) -> str | None:
        """Why the last use of the file failed, one sentence; None where it did not."""
        return self._database.error

    def enqueue(self, project: int, tier: str, *, reason: str, last_event_id: int = 0) -> int:
        """Have a training wait, unless one does already: then that answers for this event too.

        Args:
            project: Whose annotations to learn from.
            tier: What to train.
            reason: Who or what asks for it.
            last_event_id: Id of the last event that it answers for.

        Returns:
            The id of the training that waits.

        Raises:
            StateFileError: If the file cannot be used.
        """
        with self._database.connection() as connection:
            (number,) = connection.execute(
                "INSERT INTO runs (project, tier, reason, upto, state, asked) "
                "VALUES (?, ?, ?, ?, 'waiting', ?) ON CONFLICT (project, tier) "
                "WHERE state = 'waiting' DO UPDATE SET upto = MAX(upto, excluded.upto) "
                "RETURNING id",
                (project, tier, reason, last_event_id, _utc_now()),
            ).fetchone()
            return int(number)

    def mark_running(self, job_id: int) -> None:
        """Note that a training is begun, for the first time or again.

        Args:
            job_id: Its id; it waits or runs, and no other of its project and tier runs.

        Raises:
            StateFileError: If the file cannot be used.
        """
        self._update(
            "state = 'running', tries = tries + 1, standing = '', process = 0",
            *("WHERE id = ? AND state IN ('waiting', 'running')", job_id),
        )

    def set_status_message(self, job_id: int, message: str) -> None:
        """Note what a training does now, if the file can be used: no training fails for that.

        Args:
            job_id: Its id.
            message: A few words.
        """
        with suppress(StateFileError):
            self._update("standing = ?", "WHERE id = ?", message, job_id)

    def set_pid(self, job_id: int, pid: int) -> None:
        """Note which process runs a training.

        Args:
            job_id: Its id.
            pid: Of the system.

        Raises:
            StateFileError: If the file cannot be used.
        """
        self._update("process = ?", "WHERE id = ?", pid, job_id)

    def write_decision(self, job_id: int, result: JobResult) -> None:
        """Note what a training has led to, before anything is done about it.

        Args:
            job_id: Its id. Should its process be killed now, the next one goes on from here.
            result: What to do.

        Raises:
            StateFileError: If the file cannot be used.
        """
        self._update("outcome = ?", "WHERE id = ?", json.dumps(result.to_json()), job_id)

    def finish(self, job_id: int, state: JobState, result: JobResult) -> None:
        """Note what came of a training; what has ended stays as it ended.

        Args:
            job_id: Its id.
            state: One that is over.
            result: What came of it.

        Raises:
            StateFileError: If the file cannot be used.
        """
        self._update(
            "state = ?, outcome = ?, ended = ?, standing = '', process = 0",
            "WHERE id = ? AND state IN ('waiting', 'running')",
            *(state, json.dumps(result.to_json()), _utc_now(), job_id),
        )

    def request_cancel(self, project: int, tier: str | None = None) -> int:
        """Want the trainings of a project no more; one that runs ends as soon as it can.

        Args:
            project: Its id.
            tier: Only of this one.

        Returns:
            How many had not ended.

        Raises:
            StateFileError: If the file cannot be used.
        """
        where = "WHERE project = ? AND (? IS NULL OR tier = ?) AND state IN ('waiting', 'running')"
        return self._update("unwanted = 1", where, project, tier, tier)

    def read_job(self, job_id: int) -> Job | None:
        """A training by its id; None where there is none."""
        return next(iter(self._query_jobs("WHERE id = ?", job_id)), None)

    def find_for_event(self, project: int, event_id: int) -> Job | None:
        """The first training of a project that answers for an event; None where none does yet."""
        where = "WHERE project = ? AND upto >= ? ORDER BY id LIMIT 1"
        return next(iter(self._query_jobs(where, project, event_id)), None)

    def list_unfinished(self) -> list[Job]:
        """Those that run, then those that wait, each in the order they were asked for."""
        return self._query_jobs("WHERE state IN ('waiting', 'running') ORDER BY state, id")

    def list_latest(self, *, limit: int) -> list[Job]:
        """The last trainings.

        Args:
            limit: At most this many.

        Returns:
            The last asked for first.

        Raises:
            StateFileError: If the file cannot be used.
        """
        return self._query_jobs("ORDER BY id DESC LIMIT ?", limit)

    def read_last_event_ids(self, tier: str) -> dict[int, int]:
        """Id of the last event that trainings of a tier answer for, by project."""
        query = "SELECT project, MAX(upto) FROM runs WHERE tier = ? GROUP BY project"
        with self._database.connection() as connection:
            return dict(connection.execute(query, (tier,)).fetchall())

    def lock(self, project: int, tier: str) -> AbstractContextManager[bool]:
        """Keep every other training of a tier of a project out, in whatever process.

        Args:
            project: Whose.
            tier: What is trained.

        Returns:
            For a ``with`` statement: True while it is locked, False where another process has
            locked it. The system releases the lock of a killed process.
        """
        return try_lock(self._state_dir / f"training-{tier}-{project}.lock")

    def is_locked(self, job: Job) -> bool:
        """Whether a process runs a training now."""
        with self.lock(job.project, job.tier) as ours:
            return not ours

    def work_dir(self, job: Job) -> Path:
        """Where a training keeps what it learns from until it has ended: a folder of its own."""
        return self._state_dir / f"training-{job.id}"

    def remove_work_dir(self, job: Job) -> None:
        """Remove what a training has kept; before its end is noted, so that none is left over."""
        shutil.rmtree(self.work_dir(job), ignore_errors=True)

    def _update(self, what: str, where: str, *values: int | str | None) -> int:
        """Change some rows; how many were."""
        with self._database.connection() as connection:
            return connection.execute(f"UPDATE runs SET {what} {where}", values).rowcount  # noqa: S608

    def _query_jobs(self, where: str, *values: int) -> list[Job]:
        """Some rows."""
        with self._database.connection() as connection:
            cursor = connection.execute(f"SELECT {JOB_COLUMNS} FROM runs {where}", values)  # noqa: S608
            names = [column[0] for column in cursor.description]
            return [_job_from_row(dict(zip(names, row, strict=True))) for row in cursor]


def _job_from_row(row: dict[str, Any]) -> Job:
    """Convert the columns of a row that SQLite holds as text or numbers."""
    result, ended_at = row["result"], row["ended_at"]
    return Job(
        **row
        | {
            "state": JobState(row["state"]),
            "cancel_requested": bool(row["cancel_requested"]),
            "requested_at": datetime.fromisoformat(row["requested_at"]),
            "ended_at": datetime.fromisoformat(ended_at) if ended_at else None,
            "result": JobResult.from_json(json.loads(result)) if result else None,
        }
    )


def _utc_now() -> str:
    """This moment."""
    return datetime.now(UTC).isoformat()


def send_signal(pid: int, signal: int) -> None:
    """Send a signal to a process that may have ended.

    Args:
        pid: Its id; 0 for none.
        signal: Of the system.
    """
    if pid:
        with suppress(ProcessLookupError):
            os.kill(pid, signal)
