"""One SQLite file for many threads and processes, opened late and opened again after trouble.

Commits are not synced to the disk one by one (``synchronous=NORMAL``): they outlive the process
whatever ends it, but the last may be lost when the power fails. Label Studio waits for the answer
to an event while an annotator waits for Label Studio, and annotations themselves are safe there.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tagalong.ner.errors import StateFileError

BUSY_TIMEOUT_SECONDS = (
    0.4  # Label Studio gives a webhook 1 second, and other writers need milliseconds
)


class Database:
    """A file with tables. Nothing is opened, and nothing can go wrong, before it is `used`.

    Args:
        path: Of the file; it and its folder are made where they are missing.
        schema_sql: SQL that makes what is not there yet.
        schema_version: Of the tables; a file of a later one is not touched.
        consequence: What it costs that the file cannot be used, for the error.
    """

    def __init__(
        self, path: Path, schema_sql: str, *, schema_version: int, consequence: str
    ) -> None:
        self._path, self._schema_sql, self._schema_version, self._consequence = (
            path,
            schema_sql,
            schema_version,
            consequence,
        )
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._error: str | None = None

    @property
    def error(self) -> str | None:
        """Why the last use failed, one sentence; None where it did not."""
        return self._error

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection to one thread at a time; every statement is a transaction.

        Yields:
            The connection.

        Raises:
            JournalError: If the file cannot be used, or what is in it makes no sense.
        """
        with self._lock:
            try:
                yield self._open_connection()
            except (sqlite3.Error, OSError, ValueError) as error:
                self.close()
                self._error = (
                    f"the journal {self._path} cannot be used ({error}), so {self._consequence}: make "
                    "its folder writable, or move the file away for a new one"
                )
                raise StateFileError(self._error) from error
            self._error = None

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _open_connection(self) -> sqlite3.Connection:
        """The connection; a new one where the file was taken away or replaced."""
        if self._connection is not None and not self._is_same_file():
            self.close()
        if self._connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch(mode=0o600)  # it may hold what only its owner should read
            self._connection = self._connect()
            self._inode = self._path.stat().st_ino
        return self._connection

    def _is_same_file(self) -> bool:
        """Whether the file is still the one that was opened."""
        return self._path.exists() and self._path.stat().st_ino == self._inode

    def _connect(self) -> sqlite3.Connection:
        """Open the file and see to its tables."""
        connection = sqlite3.connect(
            self._path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            (known,) = connection.execute("PRAGMA user_version").fetchone()
            if known > self._schema_version:
                raise sqlite3.DatabaseError(
                    f"it has format {known}, and only formats up to {self._schema_version} can be read"
                )
            if known < self._schema_version:
                connection.executescript(
                    f"BEGIN IMMEDIATE; {self._schema_sql}; "
                    f"PRAGMA user_version = {self._schema_version}; COMMIT"
                )
        except sqlite3.Error:
            connection.close()
            raise
        return connection
