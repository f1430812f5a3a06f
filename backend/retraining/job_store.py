"""Stores retraining jobs in one SQLite file that the server and the trainers share.

Each tier of a project has at most one waiting and one running job; unique indexes enforce that.
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
from tagalong.backend.storage.project_key import ProjectKey
from tagalong.backend.storage.state_dir import server_state_dir
from tagalong.ner.errors import StateFileError

SCHEMA = DatabaseSchema(
    version=2,
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
    outcome TEXT NOT NULL DEFAULT '',
    created INTEGER NOT NULL DEFAULT 0  -- the time of the project, or 0
);
CREATE UNIQUE INDEX IF NOT EXISTS one_waits ON runs (project, created, tier)
    WHERE state = 'waiting';
CREATE UNIQUE INDEX IF NOT EXISTS one_runs ON runs (project, created, tier)
    WHERE state = 'running';
""",
    migrations={
        1: """
ALTER TABLE runs ADD COLUMN created INTEGER NOT NULL DEFAULT 0;
DROP INDEX one_waits;
DROP INDEX one_runs;
CREATE UNIQUE INDEX one_waits ON runs (project, created, tier) WHERE state = 'waiting';
CREATE UNIQUE INDEX one_runs ON runs (project, created, tier) WHERE state = 'running'
"""
    },
)
EX_TEMPFAIL = 75  # exit status of a trainer that finds the job locked by another one
# The column names are those of the first release; AS gives each the name of its `Job` field.
JOB_COLUMNS = (
    "id, project, created, tier, reason, upto AS last_event_id, state, tries AS attempts, "
    "process AS pid, unwanted AS cancel_requested, asked AS requested_at, ended AS ended_at, "
    "standing AS status_message, outcome AS result"
)


UNFINISHED_SQL = "state IN ('waiting', 'running')"


class JobStore(Database):
    """The jobs of a folder of model versions.

    All methods that use the file raise `StateFileError` if that fails, unless they say otherwise.
    """

    def __init__(self, models: Path) -> None:
        self._state_dir = server_state_dir(models)
        path = self._state_dir / "runs.sqlite"
        super().__init__(path, SCHEMA, consequence="nothing can be retrained")

    def enqueue(
        self, project: ProjectKey, tier: str, *, reason: str, last_event_id: int = 0
    ) -> int:
        """Add a waiting job unless one waits, have it cover the event, and return its id."""
        with self.connection(writes=True) as connection:
            (job_id,) = connection.execute(
                "INSERT INTO runs (project, created, tier, reason, upto, state, asked) "
                "VALUES (?, ?, ?, ?, ?, 'waiting', ?) ON CONFLICT (project, created, tier) "
                "WHERE state = 'waiting' DO UPDATE SET upto = MAX(upto, excluded.upto) "
                "RETURNING id",
                (*_to_columns(project), tier, reason, last_event_id, _utc_now()),
            ).fetchone()
            return int(job_id)

    def mark_running(self, job_id: int) -> None:
        """Record the start of an attempt. The job must wait or run."""
        changes = "state = 'running', tries = tries + 1, standing = '', process = 0"
        self._update(changes, f"id = ? AND {UNFINISHED_SQL}", job_id)

    def mark_interrupted(self, job_id: int) -> None:
        """Do not count an attempt that stopped cleanly, as when the server stops."""
        self._update("tries = tries - 1", "id = ? AND state = 'running' AND tries > 0", job_id)

    def set_status_message(self, job_id: int, message: str) -> None:
        """Record the current step, in a few words. Never fails: no job should, for this."""
        with suppress(StateFileError):
            self._update("standing = ?", "id = ?", message, job_id)

    def set_pid(self, job_id: int, pid: int) -> None:
        """Record the process that runs a job."""
        self._update("process = ?", "id = ?", pid, job_id)

    def write_decision(self, job_id: int, result: JobResult) -> None:
        """Record the decision before it is carried out, so that the next attempt can do that."""
        self._update("outcome = ?", "id = ?", json.dumps(result.to_json()), job_id)

    def finish(self, job_id: int, state: JobState, result: JobResult) -> None:
        """Delete the work folder and record the end of a job; a finished job does not change."""
        # In this order, so that no folder is left behind if the process is killed in between.
        shutil.rmtree(self.work_dir(job_id), ignore_errors=True)
        changes = "state = ?, outcome = ?, ended = ?, standing = '', process = 0"
        values = state, json.dumps(result.to_json()), _utc_now(), job_id
        self._update(changes, f"id = ? AND {UNFINISHED_SQL}", *values)

    def request_cancel(self, project: ProjectKey) -> int:
        """Cancel the unfinished jobs of a project as soon as possible, and return their number."""
        where = f"project = ? AND created = ? AND {UNFINISHED_SQL}"
        return self._update("unwanted = 1", where, *_to_columns(project))

    def read_job(self, job_id: int) -> Job | None:
        """Read a job; None if there is none with this id."""
        return next(iter(self._query_jobs("WHERE id = ?", job_id)), None)

    def find_for_event(self, project: ProjectKey, event_id: int) -> Job | None:
        """The first job of a project that covers an event; None if none does yet."""
        where = "WHERE project = ? AND created = ? AND upto >= ? ORDER BY id LIMIT 1"
        return next(iter(self._query_jobs(where, *_to_columns(project), event_id)), None)

    def list_active(self) -> list[Job]:
        """Running jobs, then waiting ones, each in the order of their requests."""
        return self._query_jobs(f"WHERE {UNFINISHED_SQL} ORDER BY state, id")

    def list_latest(self, *, limit: int) -> list[Job]:
        """The latest jobs, the newest first."""
        return self._query_jobs("ORDER BY id DESC LIMIT ?", limit)

    def read_last_event_ids(self, tier: str) -> dict[ProjectKey, int]:
        """Id of the last event that the jobs of a tier cover, by project."""
        query = "SELECT project, created, MAX(upto) FROM runs WHERE tier = ? GROUP BY 1, 2"
        with self.connection() as connection:
            rows = connection.execute(query, (tier,))
            return {_from_columns(*key): event_id for *key, event_id in rows}

    def lock(
        self, project: ProjectKey, tier: str, *, timeout_seconds: float = 0.0
    ) -> AbstractContextManager[bool]:
        """Lock a tier of a project against all other jobs, of any process, as `try_lock` does."""
        path = self._state_dir / f"training-{tier}-{project}.lock"
        return try_lock(path, timeout_seconds=timeout_seconds)

    def is_locked(self, job: Job) -> bool:
        """Whether a process runs the job."""
        with self.lock(job.project, job.tier) as locked:
            return not locked

    def work_dir(self, job_id: int) -> Path:
        """The folder for the training data and state of a job, until it ends."""
        return self._state_dir / f"training-{job_id}"

    def _update(self, changes: str, where: str, *values: int | str) -> int:
        """Update rows; returns their number."""
        with self.connection(writes=True) as connection:
            return connection.execute(f"UPDATE runs SET {changes} WHERE {where}", values).rowcount  # noqa: S608

    def _query_jobs(self, where: str, *values: int) -> list[Job]:
        with self.connection() as connection:
            cursor = connection.execute(f"SELECT {JOB_COLUMNS} FROM runs {where}", values)  # noqa: S608
            names = [column[0] for column in cursor.description]
            return [_job_from_row(dict(zip(names, row, strict=True))) for row in cursor]


def _job_from_row(row: dict[str, Any]) -> Job:
    result, ended_at = row["result"], row["ended_at"]
    typed = {
        "project": _from_columns(row["project"], row.pop("created")),
        "state": JobState(row["state"]),
        "cancel_requested": bool(row["cancel_requested"]),
        "requested_at": datetime.fromisoformat(row["requested_at"]),
        "ended_at": datetime.fromisoformat(ended_at) if ended_at else None,
        "result": JobResult.from_json(json.loads(result)) if result else None,
    }
    return Job(**row | typed)


def _to_columns(project: ProjectKey) -> tuple[int, int]:
    return project.id, project.created or 0


def _from_columns(number: int, created: int) -> ProjectKey:
    return ProjectKey(number, created or None)


def _utc_now() -> str:
    return datetime.now(UTC).isoformat()


def send_signal(pid: int, signal: int) -> None:
    """Send a signal to a process; ignores 0, and processes that have ended."""
    if pid:
        with suppress(ProcessLookupError):
            os.kill(pid, signal)
