"""Stores Label Studio's webhook events and the extra params of ``/setup`` in one SQLite file.

Only ids and times are stored, never a text. If the file cannot be used, the server still predicts,
and its status page shows the error.

Projects are told apart by `ProjectKey`. A webhook without payload names only the id of its project,
and so do the events of earlier releases. Such an event counts for the project of that id. If events
name several times of creation with the id, it counts for none, because it may be of either.
"""

import hashlib
import json
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tagalong.backend.events.payload import AnnotationRef, WebhookEvent, parse_event
from tagalong.backend.storage.database import Database, DatabaseSchema
from tagalong.backend.storage.project_key import MAX_ID, ProjectKey
from tagalong.ner.errors import StateFileError

MAX_PROJECTS = 1_000  # with extra params
MAX_EXTRA_PARAMS_CHARACTERS = 10_000  # as JSON; a backend needs a dozen
SCHEMA = DatabaseSchema(
    version=2,
    sql="""
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    digest BLOB UNIQUE,
    received TEXT NOT NULL,
    action TEXT NOT NULL,
    project INTEGER,
    tasks TEXT NOT NULL,
    annotations TEXT NOT NULL,
    created INTEGER NOT NULL DEFAULT 0  -- the time of the project, or 0
);
CREATE INDEX IF NOT EXISTS events_of_project ON events (project, created, action);
CREATE TABLE IF NOT EXISTS extra (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    project TEXT NOT NULL,  -- its key, or its id in rows of earlier releases
    backend TEXT NOT NULL,  -- the tier
    params TEXT NOT NULL,
    UNIQUE (project, backend)
);
""",
    migrations={
        1: """
ALTER TABLE events ADD COLUMN created INTEGER NOT NULL DEFAULT 0;
DROP INDEX events_of_project;
CREATE INDEX events_of_project ON events (project, created, action)
"""
    },
)
ANNOTATION_ACTIONS_SQL = "'ANNOTATION_CREATED', 'ANNOTATION_UPDATED', 'ANNOTATIONS_CREATED'"


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """A stored event; `received_at` is in UTC."""

    id: int  # grows with every event
    received_at: datetime
    event: WebhookEvent


class EventStore(Database):
    """The events of one server, for many threads and processes. Opened on first use.

    All methods raise `StateFileError` if the file cannot be used, unless they say otherwise.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, SCHEMA, consequence="webhook events are not recorded")
        self._cache_lock = threading.Lock()
        self._extra_params_cache: OrderedDict[tuple[ProjectKey | None, str], Mapping[str, Any]] = (
            OrderedDict()
        )

    def write_payload(self, payload: Mapping[str, Any]) -> int | None:
        """Store the event in the JSON of a webhook, as `write_event` does; None if it has none."""
        event = parse_event(payload)
        return None if event is None else self.write_event(event)

    def write_event(self, event: WebhookEvent) -> int | None:
        """Store an event and return its id; None if the same event was stored before."""
        annotations = [[ref.id, ref.updated_at] for ref in event.annotations]
        values = (
            _compute_event_digest(event),
            datetime.now(UTC).isoformat(),
            event.action,
            event.project and event.project.id,
            json.dumps(event.tasks),
            json.dumps(annotations),
            (event.project and event.project.created) or 0,
        )
        with self.connection(writes=True) as connection:
            cursor = connection.execute(
                "INSERT INTO events "
                "(digest, received, action, project, tasks, annotations, created) "
                "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (digest) DO NOTHING",
                values,
            )
            return cursor.lastrowid if cursor.rowcount else None

    def count_by_action(self) -> dict[str, int]:
        """Count the events of each action."""
        query = "SELECT action, COUNT(*) FROM events GROUP BY action ORDER BY action"
        with self.connection() as connection:
            return dict(connection.execute(query).fetchall())

    def read_annotated_projects(self) -> list[ProjectKey]:
        """The projects with events about annotations."""
        query = (
            "SELECT DISTINCT project, created FROM events "  # noqa: S608
            f"WHERE action IN ({ANNOTATION_ACTIONS_SQL}) AND project IS NOT NULL "
            "ORDER BY project, created"
        )
        with self.connection() as connection:
            keys = [
                ProjectKey(number, created or None) for number, created in connection.execute(query)
            ]
        known = {key.id for key in keys if key.created is not None}
        return [key for key in keys if key.created is not None or key.id not in known]

    def find_project(self, project: ProjectKey) -> ProjectKey:
        """The project of an event; the one that events know, if this one names only its id."""
        with self.connection() as connection:
            known = _read_created_times(connection, project.id)
        is_clear = project.created is None and len(known) == 1
        return ProjectKey(project.id, *known) if is_clear else project

    def count_annotations(self, project: ProjectKey, *, after_event_id: int = 0) -> tuple[int, int]:
        """Count the annotations of a project that were created or changed, each once.

        Also returns the id of the last event about one of them; (0, 0) without any.
        """
        query = (
            "SELECT COUNT(DISTINCT json_extract(one.value, '$[0]')), COALESCE(MAX(events.id), 0) "  # noqa: S608
            "FROM events, json_each(events.annotations) AS one WHERE project = ? "
            f"AND created IN (?, ?) AND action IN ({ANNOTATION_ACTIONS_SQL}) AND events.id > ?"
        )
        created = project.created or 0
        with self.connection() as connection:
            is_only_one = _read_created_times(connection, project.id) <= {created}
            times = created, 0 if is_only_one else created
            values = project.id, *times, after_event_id
            count, last_event_id = connection.execute(query, values).fetchone()
            return count, last_event_id

    def read_event(self, event_id: int) -> RecordedEvent | None:
        """Read one event; None if there is none with this id."""
        query = (
            "SELECT received, action, project, created, tasks, annotations FROM events WHERE id = ?"
        )
        with self.connection() as connection:
            row = connection.execute(query, (min(event_id, MAX_ID),)).fetchone()
            if row is None:
                return None
            received, action, number, created, tasks, annotations = row
            project = None if number is None else ProjectKey(number, created or None)
            refs = tuple(AnnotationRef(*pair) for pair in json.loads(annotations))
            event = WebhookEvent(action, project, tuple(json.loads(tasks)), refs)
            return RecordedEvent(event_id, datetime.fromisoformat(received), event)

    def read_setups(self) -> set[tuple[str, str]]:
        """Read which projects have called ``/setup`` of which backends.

        A project is the text of its key, or its id where an earlier release recorded the call. A
        backend is a tier, or ``models/`` and a model.
        """
        with self.connection() as connection:
            return {*connection.execute("SELECT project, backend FROM extra")}

    def write_extra_params(self, project: ProjectKey | None, tier: str, extra: object) -> None:
        """Store the extra params of ``/setup``; in memory if the file cannot be used. Never fails.

        `extra` is an object or its JSON text; anything else counts as empty. Nested values are
        dropped, and so are all if they are longer than `MAX_EXTRA_PARAMS_CHARACTERS`.
        """
        key = project, tier
        params = _parse_extra_params(extra)
        with self._cache_lock:
            self._extra_params_cache[key] = params
            self._extra_params_cache.move_to_end(key)
            self._trim_cache()
        # If the file fails, the cache answers, and the status page shows `error`.
        with suppress(StateFileError), self.connection(writes=True) as connection:
            # Equal params too: the new row id keeps the project among the last ones.
            connection.execute(
                "INSERT OR REPLACE INTO extra (project, backend, params) VALUES (?, ?, ?)",
                (_format_key(project), tier, json.dumps(params)),
            )
            connection.execute(
                "DELETE FROM extra WHERE id NOT IN (SELECT id FROM extra ORDER BY id DESC LIMIT ?)",
                (MAX_PROJECTS,),
            )

    def read_extra_params(self, project: ProjectKey | None, tier: str) -> Mapping[str, Any]:
        """Read the extra params of the last ``/setup``; empty without any. Never fails.

        Those that an earlier release stored by id hold until the next ``/setup`` of the project.
        """
        key = project, tier
        with self._cache_lock:
            if (cached := self._extra_params_cache.get(key)) is not None:
                return cached  # every prediction asks, and must not wait for a locked file
        query = (
            "SELECT params FROM extra WHERE project IN (?, ?) AND backend = ? "
            "ORDER BY project = ? DESC LIMIT 1"
        )
        own, number = _format_key(project), str(project.id) if project else ""
        try:
            with self.connection() as connection:
                row = connection.execute(query, (own, number, tier, own)).fetchone()
                params: Mapping[str, Any] = json.loads(row[0]) if row else {}
        except StateFileError:
            return {}
        with self._cache_lock:
            params = self._extra_params_cache.setdefault(key, params)  # a newer /setup wins
            self._trim_cache()
        return params

    def _trim_cache(self) -> None:
        while len(self._extra_params_cache) > MAX_PROJECTS:
            self._extra_params_cache.popitem(last=False)


def _format_key(project: ProjectKey | None) -> str:
    return "" if project is None else str(project)


def _read_created_times(connection: sqlite3.Connection, project_id: int) -> set[int]:
    """The times of creation that events name with an id: the first and the last."""
    query = "SELECT {}(created) FROM events WHERE project = ? AND created > 0"
    rows = (connection.execute(query.format(end), (project_id,)) for end in ("MIN", "MAX"))
    return {created for ((created,),) in rows if created is not None}


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


def _compute_event_digest(event: WebhookEvent) -> bytes | None:
    """The identity of an event; None if equal events may be different ones."""
    if not event.is_deduplicable:
        return None
    identity = [
        event.action,
        event.project and str(event.project),
        sorted(event.tasks),
        sorted((ref.id, ref.updated_at or "") for ref in event.annotations),
    ]
    return hashlib.blake2b(json.dumps(identity).encode(), digest_size=16).digest()
