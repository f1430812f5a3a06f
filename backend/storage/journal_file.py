"""The SQLite file of a batch: its tables, whose it is, and what is said when it cannot be used."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tagalong.ner.errors import StateFileError

SCHEMA_VERSION = 2  # of the tables; goes up when they change
SQLITE_APPLICATION_ID = 0x7461676C  # "tagl": what SQLite keeps to tell whose file it is
TABLES = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (
    place INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    digest BLOB NOT NULL,
    state INTEGER NOT NULL,
    tier TEXT NOT NULL,
    entities INTEGER NOT NULL,
    answer TEXT NOT NULL,
    worth REAL NOT NULL,
    chosen INTEGER NOT NULL,
    sent INTEGER NOT NULL
);
CREATE INDEX documents_by_state ON documents (state, place);
CREATE INDEX documents_in_doubt ON documents (place) WHERE sent > 1;
CREATE TABLE spent (tier TEXT PRIMARY KEY, seconds REAL NOT NULL) WITHOUT ROWID;
"""


class JournalFile:
    """A file that one process at a time holds; its threads take turns.

    Args:
        path: Of the file; made where it is missing.

    Raises:
        JournalError: If it cannot be used, is of another release, or another batch holds it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        with self._translate_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)  # the texts' entities are in it
            self._connection = sqlite3.connect(
                path, timeout=0.4, isolation_level=None, check_same_thread=False
            )
        try:
            with self._translate_errors():
                self._initialize()
        except StateFileError:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the file; whoever comes next goes on from what is in it."""
        self._connection.close()

    def remove(self) -> None:
        """Remove it."""
        self.close()
        with self._translate_errors():
            for suffix in ("", "-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection to one thread at a time.

        Yields:
            The connection.

        Raises:
            JournalError: If the file cannot be used.
        """
        with self._translate_errors():
            yield self._connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection for what is done altogether, or not at all.

        Yields:
            The connection.

        Raises:
            JournalError: If the file cannot be used; then nothing was done.
        """
        with self.connection():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _initialize(self) -> None:
        """See whose file it is, keep others out, and make the tables."""
        connection = self._connection
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (known,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        if not tables:
            for statement in TABLES.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {SQLITE_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        elif application != SQLITE_APPLICATION_ID:
            raise StateFileError(
                f"{self.path} is a database of something else: name another place with --journal"
            )
        elif known != SCHEMA_VERSION:
            raise StateFileError(
                f"the journal {self.path} has format {known}, and this release of Tagalong reads "
                f"format {SCHEMA_VERSION}: finish the batch with the release that began it, or move the "
                "file away to begin anew"
            )
        connection.execute("COMMIT")

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Let one thread in, and say in one sentence what is wrong with the file."""
        try:
            with self._lock:
                yield
        except (sqlite3.Error, OSError) as error:
            if "locked" in str(error):
                raise StateFileError(
                    f"the journal {self.path} is in use: another tagalong prelabel is at the same "
                    "work; wait for it, or end it and run this again"
                ) from error
            raise StateFileError(
                f"the journal {self.path} cannot be used ({error}): make room or its folder "
                "writable, and run the same again; if the file is damaged, move it away to begin "
                "anew"
            ) from error
