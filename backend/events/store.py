"""A durable record of Label Studio's webhook events and of what ``/setup`` said: one SQLite file.

Only ids and times are kept, never a text. A file that cannot be used costs the record and nothing
else: the server goes on predicting, and says on its page what is wrong.
"""

import hashlib
import json
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tagalong.backend.events.payload import MAX_ID, AnnotationRef, WebhookEvent
from tagalong.backend.storage.database import Database, DatabaseSchema
from tagalong.ner.errors import StateFileError

MAX_PROJECTS = 1_000  # whose extra params are kept
MAX_EXTRA_PARAMS_CHARACTERS = 10_000  # characters of them as JSON; one backend needs a dozen
SCHEMA = DatabaseSchema(
    version=1,
    sql="""
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    digest BLOB UNIQUE,
    received TEXT NOT NULL,
    action TEXT NOT NULL,
    project INTEGER,
    tasks TEXT NOT NULL,
    annotations TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS events_of_project ON events (project, action);
CREATE TABLE IF NOT EXISTS extra (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    project TEXT NOT NULL,
    backend TEXT NOT NULL,
    params TEXT NOT NULL,
    UNIQUE (project, backend)
);
""",
)
ANNOTATION_ACTIONS_SQL = "'ANNOTATION_CREATED', 'ANNOTATION_UPDATED', 'ANNOTATIONS_CREATED'"
EVENT_COLUMNS = "id, received, action, project, tasks, annotations"


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """An event that came.

    Attributes:
        id: Grows with every event of the journal.
        received_at: When it came, in UTC.
        event: What it said.
    """

    id: int
    received_at: datetime
    event: WebhookEvent


class EventStore:
    """A record in one file, for many threads and processes. Opened when it is first used.

    Args:
        path: Of the file; it and its folder are made where they are missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database = Database(path, SCHEMA, consequence="webhook events are not recorded")
        self._lock = threading.Lock()
        self._extra_params_cache: OrderedDict[tuple[str, str], Mapping[str, Any]] = OrderedDict()

    @property
    def error(self) -> str | None:
        """Why the last use failed, one sentence; None where it did not."""
        return self._database.error

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._database.close()

    def write_event(self, event: WebhookEvent) -> int | None:
        """Record an event for good.

        Args:
            event: Of any action.

        Returns:
            Its id; None where nothing was recorded, because Label Studio has no such action or the
            very same event was recorded before.

        Raises:
            StateFileError: If the file cannot be used.
        """
        if not event.is_known:
            return None
        annotations = [[ref.id, ref.updated_at] for ref in event.annotations]
        values = (
            _compute_event_digest(event),
            datetime.now(UTC).isoformat(),
            event.action,
            event.project,
            json.dumps(event.tasks),
            json.dumps(annotations),
        )
        with self._database.connection() as connection:
            cursor = connection.execute(
                "INSERT INTO events (digest, received, action, project, tasks, annotations) "
                "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (digest) DO NOTHING",
                values,
            )
            return cursor.lastrowid if cursor.rowcount else None

    def count_by_action(self, project: int | None = None) -> dict[str, int]:
        """Count the events.

        Args:
            project: Only of this one.

        Returns:
            How many there are of each action.

        Raises:
            StateFileError: If the file cannot be used.
        """
        where, values = ("", ()) if project is None else ("WHERE project = ?", (project,))
        query = f"SELECT action, COUNT(*) FROM events {where} GROUP BY action ORDER BY action"  # noqa: S608
        with self._database.connection() as connection:
            return dict(connection.execute(query, values).fetchall())

    def read_events(
        self, *, after_event_id: int = 0, project: int | None = None, limit: int
    ) -> list[RecordedEvent]:
        """Read events in the order they came.

        Args:
            after_event_id: Id of the last one that is known.
            project: Only of this one.
            limit: At most this many.

        Returns:
            The events.

        Raises:
            StateFileError: If the file cannot be used.
        """
        query = (
            f"SELECT {EVENT_COLUMNS} FROM events WHERE id > ? AND (? IS NULL OR project = ?) "  # noqa: S608
            "ORDER BY id LIMIT ?"
        )
        with self._database.connection() as connection:
            rows = connection.execute(query, (after_event_id, project, project, limit)).fetchall()
            return [_event_from_row(row) for row in rows]

    def read_annotated_projects(self) -> list[int]:
        """The projects that annotations came from.

        Returns:
            Their ids.

        Raises:
            StateFileError: If the file cannot be used.
        """
        query = f"SELECT DISTINCT project FROM events WHERE action IN ({ANNOTATION_ACTIONS_SQL})"  # noqa: S608
        with self._database.connection() as connection:
            rows = connection.execute(f"{query} AND project IS NOT NULL ORDER BY project")
            return [number for (number,) in rows]

    def count_annotations(self, project: int, *, after_event_id: int = 0) -> tuple[int, int]:
        """Count the annotations that were made or changed, each once.

        Args:
            project: Whose.
            after_event_id: Id of the last event that is known.

        Returns:
            How many there are, and the id of the last event about one; both 0 where there is none.

        Raises:
            StateFileError: If the file cannot be used.
        """
        query = (
            "SELECT COUNT(DISTINCT json_extract(one.value, '$[0]')), COALESCE(MAX(events.id), 0) "  # noqa: S608
            "FROM events, json_each(events.annotations) AS one "
            f"WHERE project = ? AND action IN ({ANNOTATION_ACTIONS_SQL}) AND events.id > ?"
        )
        with self._database.connection() as connection:
            count, last = connection.execute(query, (project, after_event_id)).fetchone()
            return count, last

    def read_event(self, event_id: int) -> RecordedEvent | None:
        """Read one event.

        Args:
            event_id: Its id.

        Returns:
            The event; None where there is none of that id.

        Raises:
            StateFileError: If the file cannot be used.
        """
        if not 0 < event_id <= MAX_ID:
            return None
        found = self.read_events(after_event_id=event_id - 1, limit=1)
        return found[0] if found and found[0].id == event_id else None

    def read_setup_order(self) -> dict[tuple[str, str], int]:
        """Read when ``/setup`` was last called for each project and backend.

        Returns:
            By project and backend, a number that grows with every call of any project.

        Raises:
            StateFileError: If the file cannot be used.
        """
        with self._database.connection() as connection:
            rows = connection.execute("SELECT project, backend, id FROM extra")
            return {(project, backend): number for project, backend, number in rows}

    def write_extra_params(self, project: str, backend: str, extra: object) -> None:
        """Keep what ``/setup`` said; in memory where the file cannot be used. Never fails.

        Args:
            project: As its requests for predictions will name it.
            backend: Which of the backends of this server was meant.
            extra: Its ``extra_params``: an object, the JSON text of one, or nothing of use. What is
                nested in the object, or longer than `MAX_EXTRA_PARAMS_CHARACTERS`, is left out.
        """
        key = (_escape_surrogates(project), _escape_surrogates(backend))
        params = _parse_extra_params(extra)
        with self._lock:
            self._extra_params_cache[key] = params
            self._extra_params_cache.move_to_end(key)
            if len(self._extra_params_cache) > MAX_PROJECTS:
                self._extra_params_cache.popitem(last=False)
        try:
            self._write_extra_params_row(key, json.dumps(params))
        except StateFileError:
            return  # kept as `error`

    def read_extra_params(self, project: str, backend: str) -> Mapping[str, Any]:
        """What ``/setup`` said last. Never fails.

        Args:
            project: As ``/setup`` named it.
            backend: Which of the backends of this server is meant.

        Returns:
            The extra params; empty where there are none.
        """
        key = (_escape_surrogates(project), _escape_surrogates(backend))
        try:
            with self._database.connection() as connection:
                row = _select_extra_params(connection, key)
                return json.loads(row) if row is not None else {}
        except StateFileError:
            return self._extra_params_cache.get(key, {})

    def _write_extra_params_row(self, key: tuple[str, str], params: str) -> None:
        """Write extra params to the file."""
        with self._database.connection() as connection:
            # Equal ones too: the new row id records the call for `setups`.
            connection.execute(
                "INSERT OR REPLACE INTO extra (project, backend, params) VALUES (?, ?, ?)",
                (*key, params),
            )
            connection.execute(
                "DELETE FROM extra WHERE id NOT IN (SELECT id FROM extra ORDER BY id DESC LIMIT ?)",
                (MAX_PROJECTS,),
            )


def _select_extra_params(connection: sqlite3.Connection, key: tuple[str, str]) -> str | None:
    """Extra params as the file has them."""
    query = "SELECT params FROM extra WHERE project = ? AND backend = ?"
    row = connection.execute(query, key).fetchone()
    return row[0] if row else None


def _event_from_row(row: tuple[int, str, str, int | None, str, str]) -> RecordedEvent:
    """An event as a row of the table has it."""
    number, received, action, project, tasks, annotations = row
    event = WebhookEvent(
        action=action,
        project=project,
        tasks=tuple(json.loads(tasks)),
        annotations=tuple(AnnotationRef(*pair) for pair in json.loads(annotations)),
    )
    return RecordedEvent(number, datetime.fromisoformat(received), event)


def _parse_extra_params(extra: object) -> dict[str, Any]:
    """Extra params that could mean something: flat and short, whatever was typed into the form."""
    if isinstance(extra, str):
        try:
            extra = json.loads(extra)
        except (ValueError, RecursionError):
            return {}
    if not isinstance(extra, dict):
        return {}
    flat = {name: value for name, value in extra.items() if not isinstance(value, dict | list)}
    return flat if len(json.dumps(flat)) <= MAX_EXTRA_PARAMS_CHARACTERS else {}


def _escape_surrogates(name: str) -> str:
    """A name that SQLite takes: JSON may hold half a surrogate pair, UTF-8 may not."""
    return name.encode("utf-8", "backslashreplace").decode()


def _compute_event_digest(event: WebhookEvent) -> bytes | None:
    """What tells an event apart from all others; None where nothing does, and each one counts."""
    if not event.is_deduplicable:
        return None
    identity = [
        event.action,
        event.project,
        event.project_created_at,
        sorted(event.tasks),
        sorted((ref.id, ref.updated_at or "") for ref in event.annotations),
    ]
    return hashlib.blake2b(json.dumps(identity).encode(), digest_size=16).digest()
