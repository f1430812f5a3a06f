"""Stores Label Studio's webhook events and the extra params of ``/setup`` in one SQLite file.

Only ids and times are stored, never a text. If the file cannot be used, the server still predicts,
and its status page shows the error.
"""

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tagalong.backend.events.payload import MAX_ID, AnnotationRef, WebhookEvent, parse_event
from tagalong.backend.storage.database import Database, DatabaseSchema
from tagalong.ner.errors import StateFileError

MAX_PROJECTS = 1_000  # with extra params
MAX_EXTRA_PARAMS_CHARACTERS = 10_000  # as JSON; a backend needs a dozen
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
    """A stored event.

    Attributes:
        id: Grows with every event.
        received_at: In UTC.
        event: The event.
    """

    id: int
    received_at: datetime
    event: WebhookEvent


class EventStore:
    """The events of one server, for many threads and processes. Opened on first use.

    All methods raise `StateFileError` if the file cannot be used, unless they say otherwise.

    Args:
        path: Of the file; it and its folder are created if missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database = Database(path, SCHEMA, consequence="webhook events are not recorded")
        self._lock = threading.Lock()
        self._extra_params_cache: OrderedDict[tuple[str, str], Mapping[str, Any]] = OrderedDict()

    @property
    def error(self) -> str | None:
        """Why the last use of the file failed, as one sentence; None if it did not."""
        return self._database.error

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._database.close()

    def write_payload(self, payload: Mapping[str, Any]) -> int | None:
        """Record the JSON of a webhook; None if it is no event, or one that is known already."""
        event = parse_event(payload)
        return None if event is None else self.write_event(event)

    def write_event(self, event: WebhookEvent) -> int | None:
        """Store an event.

        Returns:
            Its id; None if the action is unknown, or the same event was stored before.
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
        """Count the events of each action, of all projects or of one."""
        where, values = ("", ()) if project is None else ("WHERE project = ?", (project,))
        query = f"SELECT action, COUNT(*) FROM events {where} GROUP BY action ORDER BY action"  # noqa: S608
        with self._database.connection() as connection:
            return dict(connection.execute(query, values).fetchall())

    def read_events(
        self, *, after_event_id: int = 0, project: int | None = None, limit: int
    ) -> list[RecordedEvent]:
        """Read events in the order they arrived.

        Args:
            after_event_id: Skip events up to this one.
            project: Of this project only.
            limit: Maximum number.
        """
        query = (
            f"SELECT {EVENT_COLUMNS} FROM events WHERE id > ? AND (? IS NULL OR project = ?) "  # noqa: S608
            "ORDER BY id LIMIT ?"
        )
        with self._database.connection() as connection:
            rows = connection.execute(query, (after_event_id, project, project, limit)).fetchall()
            return [_event_from_row(row) for row in rows]

    def read_annotated_projects(self) -> list[int]:
        """Ids of the projects with events about annotations."""
        query = f"SELECT DISTINCT project FROM events WHERE action IN ({ANNOTATION_ACTIONS_SQL})"  # noqa: S608
        with self._database.connection() as connection:
            rows = connection.execute(f"{query} AND project IS NOT NULL ORDER BY project")
            return [project for (project,) in rows]

    def count_annotations(self, project: int, *, after_event_id: int = 0) -> tuple[int, int]:
        """Count the annotations of a project that were created or changed, each once.

        Args:
            project: Its id.
            after_event_id: Skip events up to this one.

        Returns:
            The number, and the id of the last event about one of them; (0, 0) without any.
        """
        query = (
            "SELECT COUNT(DISTINCT json_extract(one.value, '$[0]')), COALESCE(MAX(events.id), 0) "  # noqa: S608
            "FROM events, json_each(events.annotations) AS one "
            f"WHERE project = ? AND action IN ({ANNOTATION_ACTIONS_SQL}) AND events.id > ?"
        )
        with self._database.connection() as connection:
            count, last_event_id = connection.execute(query, (project, after_event_id)).fetchone()
            return count, last_event_id

    def read_event(self, event_id: int) -> RecordedEvent | None:
        """Read one event; None if there is none with this id."""
        if not 0 < event_id <= MAX_ID:
            return None
        events = self.read_events(after_event_id=event_id - 1, limit=1)
        return events[0] if events and events[0].id == event_id else None

    def read_setup_order(self) -> dict[tuple[str, str], int]:
        """Read the order of the last ``/setup`` calls: (project, backend) -> a growing number."""
        with self._database.connection() as connection:
            rows = connection.execute("SELECT project, backend, id FROM extra")
            return {(project, backend): number for project, backend, number in rows}

    def write_extra_params(self, project: str, backend: str, extra: object) -> None:
        """Store the extra params of ``/setup``; in memory if the file cannot be used. Never fails.

        Args:
            project: Its id, as in requests for predictions.
            backend: The backend of this server that was called.
            extra: The ``extra_params``: an object or its JSON text; anything else counts as empty.
                Nested values are dropped, and so are all if they are longer than
                `MAX_EXTRA_PARAMS_CHARACTERS`.
        """
        key = (_escape_surrogates(project), _escape_surrogates(backend))
        params = _parse_extra_params(extra)
        with self._lock:
            self._extra_params_cache[key] = params
            self._extra_params_cache.move_to_end(key)
            self._trim_cache()
        # If the file fails, the cache answers, and the status page shows `error`.
        with suppress(StateFileError), self._database.connection() as connection:
            # Equal params too: the new row id records the call for `read_setup_order`.
            connection.execute(
                "INSERT OR REPLACE INTO extra (project, backend, params) VALUES (?, ?, ?)",
                (*key, json.dumps(params)),
            )
            connection.execute(
                "DELETE FROM extra WHERE id NOT IN (SELECT id FROM extra ORDER BY id DESC LIMIT ?)",
                (MAX_PROJECTS,),
            )

    def read_extra_params(self, project: str, backend: str) -> Mapping[str, Any]:
        """Read the extra params of the last ``/setup``; empty without any. Never fails."""
        key = (_escape_surrogates(project), _escape_surrogates(backend))
        with self._lock:
            if (cached := self._extra_params_cache.get(key)) is not None:
                return cached  # every prediction asks, and must not wait for a locked file
        query = "SELECT params FROM extra WHERE project = ? AND backend = ?"
        try:
            with self._database.connection() as connection:
                row = connection.execute(query, key).fetchone()
                params: Mapping[str, Any] = json.loads(row[0]) if row else {}
        except StateFileError:
            return {}
        with self._lock:
            params = self._extra_params_cache.setdefault(key, params)  # a newer /setup wins
            self._trim_cache()
        return params

    def _trim_cache(self) -> None:
        while len(self._extra_params_cache) > MAX_PROJECTS:
            self._extra_params_cache.popitem(last=False)


def _event_from_row(row: tuple[int, str, str, int | None, str, str]) -> RecordedEvent:
    event_id, received, action, project, tasks, annotations = row
    event = WebhookEvent(
        action=action,
        project=project,
        tasks=tuple(json.loads(tasks)),
        annotations=tuple(AnnotationRef(*pair) for pair in json.loads(annotations)),
    )
    return RecordedEvent(event_id, datetime.fromisoformat(received), event)


def _parse_extra_params(extra: object) -> dict[str, Any]:
    """Parse what was typed into the form; only a flat and short object is used."""
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
    """Escape halves of surrogate pairs, which JSON may hold and SQLite may not."""
    return name.encode("utf-8", "backslashreplace").decode()


def _compute_event_digest(event: WebhookEvent) -> bytes | None:
    """The identity of an event; None if equal events may be different ones."""
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
