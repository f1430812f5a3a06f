"""A durable record of Label Studio's webhook events and of what ``/setup`` said: one SQLite file.

Only ids and times are kept, never a text. A file that cannot be used costs the record and nothing
else: the server goes on predicting, and says on its page what is wrong.

Commits are not synced to the disk one by one (``synchronous=NORMAL``): they outlive the process
whatever ends it, but the last may be lost when the power fails. Label Studio waits for the answer
while an annotator waits for Label Studio, and the annotations themselves are safe there.
"""

import hashlib
import json
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backend.server.events import MAX_ID, AnnotationRef, WebhookEvent
from ner.errors import JournalError

FORMAT = 1  # of the tables; goes up when they change
BUSY_SECONDS = 0.4  # Label Studio gives a webhook 1 second, and other writers need milliseconds
PROJECTS = 1_000  # whose extra params are kept
SCHEMA = f"""
BEGIN IMMEDIATE;
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
PRAGMA user_version = {FORMAT};
COMMIT;
"""
COLUMNS = "id, received, action, project, tasks, annotations"


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """An event that came.

    Attributes:
        id: Grows with every event of the journal.
        received: When it came, in UTC.
        event: What it said.
    """

    id: int
    received: datetime
    event: WebhookEvent


class Journal:
    """A record in one file, for many threads and processes. Opened when it is first used.

    Args:
        path: Of the file; it and its folder are made where they are missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._error: str | None = None
        self._extra: OrderedDict[tuple[str, str], Mapping[str, Any]] = OrderedDict()

    @property
    def error(self) -> str | None:
        """Why the last use failed, one sentence; None where it did not."""
        return self._error

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def record(self, event: WebhookEvent) -> int | None:
        """Record an event for good.

        Args:
            event: Of any action.

        Returns:
            Its id; None where nothing was recorded, because Label Studio has no such action or the
            very same event was recorded before.

        Raises:
            JournalError: If the file cannot be used.
        """
        if not event.known:
            return None
        annotations = [[ref.id, ref.updated_at] for ref in event.annotations]
        values = (
            _digest(event),
            datetime.now(UTC).isoformat(),
            event.action,
            event.project,
            json.dumps(event.tasks),
            json.dumps(annotations),
        )
        with self._used() as connection:
            cursor = connection.execute(
                "INSERT INTO events (digest, received, action, project, tasks, annotations) "
                "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (digest) DO NOTHING",
                values,
            )
            return cursor.lastrowid if cursor.rowcount else None

    def count(self, project: int | None = None) -> dict[str, int]:
        """Count the events.

        Args:
            project: Only of this one.

        Returns:
            How many there are of each action.

        Raises:
            JournalError: If the file cannot be used.
        """
        where, values = ("", ()) if project is None else ("WHERE project = ?", (project,))
        query = f"SELECT action, COUNT(*) FROM events {where} GROUP BY action ORDER BY action"  # noqa: S608
        with self._used() as connection:
            return dict(connection.execute(query, values).fetchall())

    def events(
        self, *, after: int = 0, project: int | None = None, limit: int
    ) -> list[RecordedEvent]:
        """Read events in the order they came.

        Args:
            after: Id of the last one that is known.
            project: Only of this one.
            limit: At most this many.

        Returns:
            The events.

        Raises:
            JournalError: If the file cannot be used.
        """
        query = (
            f"SELECT {COLUMNS} FROM events WHERE id > ? AND (? IS NULL OR project = ?) "  # noqa: S608
            "ORDER BY id LIMIT ?"
        )
        with self._used() as connection:
            rows = connection.execute(query, (after, project, project, limit)).fetchall()
            return [_recorded(row) for row in rows]

    def event(self, number: int) -> RecordedEvent | None:
        """Read one event.

        Args:
            number: Its id.

        Returns:
            The event; None where there is none of that id.

        Raises:
            JournalError: If the file cannot be used.
        """
        if not 0 < number <= MAX_ID:
            return None
        found = self.events(after=number - 1, limit=1)
        return found[0] if found and found[0].id == number else None

    def remember_extra(self, project: str, backend: str, extra: object) -> None:
        """Keep what ``/setup`` said; in memory where the file cannot be used. Never fails.

        Args:
            project: As its requests for predictions will name it.
            backend: Which of the backends of this server was meant.
            extra: Its ``extra_params``: an object, the JSON text of one, or nothing of use.
        """
        key = (_storable(project), _storable(backend))
        params = _parsed_extra(extra)
        with self._lock:
            self._extra[key] = params
            self._extra.move_to_end(key)
            if len(self._extra) > PROJECTS:
                self._extra.popitem(last=False)
        try:
            self._write_extra(key, json.dumps(params))
        except JournalError:
            return  # kept as `error`

    def extra(self, project: str, backend: str) -> Mapping[str, Any]:
        """What ``/setup`` said last. Never fails.

        Args:
            project: As ``/setup`` named it.
            backend: Which of the backends of this server is meant.

        Returns:
            The extra params; empty where there are none.
        """
        key = (_storable(project), _storable(backend))
        try:
            with self._used() as connection:
                row = _stored_extra(connection, key)
                return json.loads(row) if row is not None else {}
        except JournalError:
            return self._extra.get(key, {})

    def _write_extra(self, key: tuple[str, str], params: str) -> None:
        """Keep extra params in the file; nothing is written where nothing changed."""
        with self._used() as connection:
            if _stored_extra(connection, key) == params:
                return
            connection.execute(
                "INSERT OR REPLACE INTO extra (project, backend, params) VALUES (?, ?, ?)",
                (*key, params),
            )
            connection.execute(
                "DELETE FROM extra WHERE id NOT IN (SELECT id FROM extra ORDER BY id DESC LIMIT ?)",
                (PROJECTS,),
            )

    @contextmanager
    def _used(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one thread at a time; what goes wrong becomes our error."""
        with self._lock:
            try:
                yield self._opened()
            except (sqlite3.Error, OSError, ValueError) as error:
                self.close()
                self._error = (
                    f"the journal {self.path} cannot be used ({error}), so webhook events are not "
                    "recorded: make its folder writable, or move the file away for a new one"
                )
                raise JournalError(self._error) from error
            self._error = None

    def _opened(self) -> sqlite3.Connection:
        """The connection; a new one where the file was taken away or replaced."""
        if self._connection is not None and not self._is_there():
            self.close()
        if self._connection is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch(mode=0o600)  # extra params are nobody else's business
            self._connection = _connect(self.path)
            self._inode = self.path.stat().st_ino
        return self._connection

    def _is_there(self) -> bool:
        """Whether the file is still the one that was opened."""
        return self.path.exists() and self.path.stat().st_ino == self._inode


def _connect(path: Path) -> sqlite3.Connection:
    """Open the file and see to its tables."""
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        (known,) = connection.execute("PRAGMA user_version").fetchone()
        if known > FORMAT:
            raise sqlite3.DatabaseError(f"it has format {known}, and up to {FORMAT} can be read")
        if known < FORMAT:
            connection.executescript(SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _stored_extra(connection: sqlite3.Connection, key: tuple[str, str]) -> str | None:
    """Extra params as the file has them."""
    query = "SELECT params FROM extra WHERE project = ? AND backend = ?"
    row = connection.execute(query, key).fetchone()
    return row[0] if row else None


def _recorded(row: tuple[int, str, str, int | None, str, str]) -> RecordedEvent:
    """An event as a row of the table has it."""
    number, received, action, project, tasks, annotations = row
    event = WebhookEvent(
        action=action,
        project=project,
        tasks=tuple(json.loads(tasks)),
        annotations=tuple(AnnotationRef(*pair) for pair in json.loads(annotations)),
    )
    return RecordedEvent(number, datetime.fromisoformat(received), event)


def _parsed_extra(extra: object) -> dict[str, Any]:
    """Extra params as an object; Label Studio passes on whatever was typed into its form."""
    if isinstance(extra, str):
        try:
            extra = json.loads(extra)
        except (ValueError, RecursionError):
            return {}
    return extra if isinstance(extra, dict) else {}


def _storable(name: str) -> str:
    """A name that SQLite takes: JSON may hold half a surrogate pair, UTF-8 may not."""
    return name.encode("utf-8", "backslashreplace").decode()


def _digest(event: WebhookEvent) -> bytes | None:
    """What tells an event apart from all others; None where nothing does, and each one counts."""
    if not event.is_unique:
        return None
    identity = [
        event.action,
        event.project,
        event.project_created,
        sorted(event.tasks),
        sorted((ref.id, ref.updated_at or "") for ref in event.annotations),
    ]
    return hashlib.blake2b(json.dumps(identity).encode(), digest_size=16).digest()
