"""One SQLite file for many threads, opened on first use.

Commits are not synced to the disk one by one (``synchronous=NORMAL``). They survive the end of the
process, but a power cut may take the last ones. Label Studio waits for the answer to an event while
an annotator waits for Label Studio, and the annotations themselves are safe there.
"""

import logging
import sqlite3
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tagalong.ner.atomic_io import PRIVATE_FILE_MODE, PRIVATE_FOLDER_MODE
from tagalong.ner.errors import StateFileError, find_fault_kind

# Label Studio gives a webhook one second, and other writers need milliseconds.
BUSY_TIMEOUT_SECONDS = 0.4
MIGRATION_TIMEOUT_SECONDS = 30.0  # another process may be migrating a large file
PROBE_BYTES = 2**20  # room on the disk for the next writes, checked by `probe_writing`

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DatabaseSchema:
    """The tables of a file; one of another version or application is left alone.

    A file of an earlier version that has a migration is changed to the next version.
    """

    sql: str  # statements that make the tables
    version: int  # in SQLite: ``user_version``
    application_id: int = 0  # 0 for none
    migrations: Mapping[int, str] = field(default_factory=dict)  # earlier version -> statements


class Database:
    """An SQLite file; it and its folder are made where missing, for their owner alone.

    A shared file is opened again after an error, and after it was replaced. An exclusive one stays
    open until `close`, so that no other process can change it in between. `consequence` says in
    errors what does not happen while the file cannot be used.
    """

    def __init__(
        self, path: Path, schema: DatabaseSchema, *, consequence: str, is_exclusive: bool = False
    ) -> None:
        self.path = path
        self._read_error: str | None = None  # of the last use; None if it succeeded
        self._write_error: str | None = None  # of the last change, whatever was read since
        self._schema, self._consequence = schema, consequence
        self._is_exclusive = is_exclusive
        self._connection_lock = threading.RLock()  # reentrant: a failure closes the file
        self._connection: sqlite3.Connection | None = None
        self._inode = 0

    @property
    def error(self) -> str | None:
        """Why the file cannot be used, in one sentence; None if it can.

        A failed write keeps its error until a write succeeds; a failed read, until any use does.
        """
        return self._write_error or self._read_error

    @property
    def write_error(self) -> str | None:
        """Why nothing can be stored, in one sentence; None if the last write succeeded."""
        return self._write_error

    @contextmanager
    def connection(self, *, writes: bool = False) -> Iterator[sqlite3.Connection]:
        """Lend the connection to one thread at a time; every statement is a transaction.

        `writes` says that the block changes the file. Raises `StateFileError` if the file cannot
        be used, or its content makes no sense. The log has each fault once.
        """
        with self._connection_lock:
            try:
                connection = self._open_connection()
                changes = connection.total_changes
                yield connection
            except (sqlite3.Error, OSError, ValueError) as error:
                self._log_fault(error)
                raise self._record_failure(self._make_error(error), writes=writes) from error
            except StateFileError as error:
                self._log_fault(error)
                self._record_failure(error, writes=writes)
                raise
            self._record_success(wrote=writes and connection.total_changes > changes)

    def probe_writing(self) -> None:
        """Write a little, to find out whether the file can be written again. Never fails."""
        with suppress(StateFileError), self._connection_lock:
            with self.connection(writes=True) as connection:
                with tempfile.TemporaryFile(dir=self.path.parent) as file:
                    file.write(bytes(PROBE_BYTES))
                    file.flush()
                connection.execute(f"PRAGMA user_version = {self._schema.version}")
            self._record_success(wrote=True)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection for changes that are made together or not at all.

        Raises `StateFileError` if the file cannot be used; then nothing has changed.
        """
        with self.connection(writes=True) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # SQLite rolls some errors back itself
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._connection_lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def remove(self) -> None:
        """Close the file and delete it; raises `StateFileError` if it stays, complete."""
        self.close()
        try:
            for suffix in ("-wal", "-shm", ""):  # empty since the file was closed
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        except OSError as error:
            raise self._make_error(error) from error

    def _record_failure(self, error: StateFileError, *, writes: bool) -> StateFileError:
        if writes:
            self._write_error = str(error)
        else:
            self._read_error = str(error)
        if not self._is_exclusive:
            self.close()
        return error

    def _record_success(self, *, wrote: bool) -> None:
        self._read_error = None
        if wrote:
            self._write_error = None

    def _log_fault(self, error: Exception) -> None:
        """Log the kind of a new fault, without the text, which may quote paths and content."""
        if self.error is not None or self._is_exclusive:  # the command of a batch prints its own
            return
        log.warning("%s cannot be used: %s", self.path.name, find_fault_kind(error))

    def _make_error(self, error: Exception) -> StateFileError:
        if self._is_exclusive and "locked" in str(error):
            return StateFileError(
                f"{self.path} is in use by another process, so {self._consequence}: "
                "wait for that process or end it, then run this again",
                code="state-file-in-use",
            )
        return StateFileError(
            f"{self.path} cannot be used ({error}), so {self._consequence}: make room "
            "or its folder writable; if the file is damaged, move it away to start a new one",
            code="state-file-unusable",
        )

    def _open_connection(self) -> sqlite3.Connection:
        """The connection; a new one if the file was removed or replaced."""
        is_same_file = self.path.exists() and self.path.stat().st_ino == self._inode
        if not self._is_exclusive and not is_same_file:
            self.close()
        if self._connection is None:
            self.path.parent.mkdir(PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
            self.path.touch(PRIVATE_FILE_MODE)  # SQLite gives its other files the same permissions
            self._connection = self._connect()
            self._inode = self.path.stat().st_ino
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        # isolation_level=None: sqlite3 begins no transactions of its own.
        connection = sqlite3.connect(
            self.path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            if self._is_exclusive:
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            if self._is_exclusive or _is_empty(connection):
                self._make_tables(connection)
            self._check_application(connection)
            if _read_version(connection) in self._schema.migrations:
                self._migrate(connection)
            self._check_version(connection)
        except (sqlite3.Error, StateFileError):
            connection.close()
            raise
        return connection

    def _make_tables(self, connection: sqlite3.Connection) -> None:
        """Lock the file, which another process may be opening too, and make missing tables."""
        connection.execute("BEGIN IMMEDIATE")
        if _is_empty(connection):
            for statement in self._schema.sql.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {self._schema.application_id}")
            connection.execute(f"PRAGMA user_version = {self._schema.version}")
        connection.execute("COMMIT")

    def _migrate(self, connection: sqlite3.Connection) -> None:
        """Bring the file to the version of this release, in one transaction."""
        connection.execute(f"PRAGMA busy_timeout = {MIGRATION_TIMEOUT_SECONDS * 1000:.0f}")
        connection.execute("BEGIN IMMEDIATE")
        # Another process may have migrated the file before the transaction began.
        while (version := _read_version(connection)) in self._schema.migrations:
            for statement in self._schema.migrations[version].split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version + 1}")
        connection.execute("COMMIT")
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_SECONDS * 1000:.0f}")

    def _check_application(self, connection: sqlite3.Connection) -> None:
        if _read_number(connection, "PRAGMA application_id") != self._schema.application_id:
            message = f"{self.path} is a database of another program: choose another file"
            raise StateFileError(message, code="state-file-of-another-program")

    def _check_version(self, connection: sqlite3.Connection) -> None:
        version = _read_version(connection)
        _is_empty(connection)  # reads the tables again, if another process has migrated them
        if version != self._schema.version:
            raise StateFileError(
                f"{self.path} has format {version}, but this release of Tagalong reads "
                f"format {self._schema.version}: use the release that wrote it, or move the file "
                "away to start a new one",
                code="state-file-of-another-format",
            )


def _is_empty(connection: sqlite3.Connection) -> bool:
    queries = "SELECT COUNT(*) FROM sqlite_master", "PRAGMA user_version"
    return not any(_read_number(connection, query) for query in queries)


def _read_version(connection: sqlite3.Connection) -> int:
    return _read_number(connection, "PRAGMA user_version")


def _read_number(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])
