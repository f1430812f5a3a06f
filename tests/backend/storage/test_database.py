"""Files of earlier releases are migrated: completely or not at all, and by one process."""

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tagalong.backend.storage import database
from tagalong.backend.storage.database import Database, DatabaseSchema
from tagalong.ner.errors import StateFileError
from tests.errors import raises

ROOT = Path(__file__).parents[3]
OLD = """
CREATE TABLE fruit (name TEXT);
CREATE UNIQUE INDEX names ON fruit (name);
INSERT INTO fruit VALUES ('fig'), ('plum');
PRAGMA user_version = 1
"""
SCHEMA = DatabaseSchema(
    version=3,
    sql="""
CREATE TABLE fruit (name TEXT, weight INTEGER NOT NULL DEFAULT 0, colour TEXT);
CREATE UNIQUE INDEX names ON fruit (name, weight)
""",
    migrations={
        1: """
ALTER TABLE fruit ADD COLUMN weight INTEGER NOT NULL DEFAULT 0;
DROP INDEX names;
CREATE UNIQUE INDEX names ON fruit (name, weight)
""",
        2: "ALTER TABLE fruit ADD COLUMN colour TEXT",
    },
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "old.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.execute("PRAGMA journal_mode = WAL")
        old.executescript(OLD)
    return path


def open_database(path: Path, schema: DatabaseSchema = SCHEMA) -> Database:
    return Database(path, schema, consequence="no fruit is stored")


def read_fruit(path: Path) -> list[tuple[Any, ...]]:
    with closing(open_database(path)) as opened, opened.connection() as connection:
        return connection.execute("SELECT name, weight, colour FROM fruit").fetchall()


def read_shape(path: Path) -> list[tuple[Any, ...]]:
    """Tables, columns and indexes of a file, and its version."""
    with closing(sqlite3.connect(path)) as connection:
        columns = connection.execute(
            "SELECT m.name, c.name, c.type FROM sqlite_master AS m, pragma_table_info(m.name) AS c"
        )
        version = connection.execute("PRAGMA user_version").fetchone()
        return [*sorted(map(str, columns)), version]


def test_migrated_file_keeps_its_rows_and_equals_a_new_one(path: Path, tmp_path: Path) -> None:
    assert read_fruit(path) == [("fig", 0, None), ("plum", 0, None)]
    new = tmp_path / "new.sqlite"
    assert read_fruit(new) == []
    assert read_shape(path) == read_shape(new)


def test_processes_that_open_a_file_at_once_migrate_it_once(path: Path) -> None:
    start, failures = threading.Barrier(8), list[BaseException]()

    def use() -> None:
        try:
            with closing(open_database(path)) as opened:
                start.wait()
                with opened.connection(writes=True) as connection:
                    connection.execute("INSERT INTO fruit VALUES (NULL, 3, 'red')")
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(read_fruit(path)) == 10


def test_failed_migration_changes_nothing(path: Path) -> None:
    before = read_shape(path)
    broken = DatabaseSchema(
        version=2, sql="", migrations={1: "DELETE FROM fruit; DROP INDEX names; DROP TABLE nothing"}
    )
    with raises(StateFileError, "state-file-unusable"), open_database(path, broken).connection():
        pass
    assert read_shape(path) == before
    assert len(read_fruit(path)) == 2


def test_file_that_cannot_be_written_is_one_sentence(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, connect = read_shape(path), sqlite3.connect
    monkeypatch.setattr(
        database.sqlite3,
        "connect",
        lambda path, **options: connect(f"file:{path}?mode=ro", uri=True, **options),
    )
    with (
        raises(StateFileError, "state-file-unusable") as raised,
        open_database(path).connection(),
    ):
        pass
    assert "readonly" in str(raised.value)
    monkeypatch.undo()
    assert read_shape(path) == before


@pytest.mark.parametrize("version", [0, 4, 10**9])
def test_file_without_a_migration_is_left_alone(path: Path, version: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    before = read_shape(path)
    with (
        raises(StateFileError, "state-file-of-another-format"),
        open_database(path).connection(),
    ):
        pass
    assert read_shape(path) == before


# Opens a copy of the file again and again, and is killed before its first statement, its second...
KILLED = """
import os, shutil, sqlite3, sys
from pathlib import Path
from tests.backend.storage.test_database import open_database

class KilledConnection(sqlite3.Connection):
    left = 0
    def execute(self, *args):
        KilledConnection.left -= 1
        if not KilledConnection.left:
            os.kill(os.getpid(), 9)
        return super().execute(*args)

connect = sqlite3.connect
sqlite3.connect = lambda *args, **options: connect(*args, factory=KilledConnection, **options)
path, number = Path(sys.argv[1]), 0
while True:
    number += 1
    copy = path.with_name(f"killed-{number}.sqlite")
    shutil.copy(path, copy)
    if not (child := os.fork()):
        KilledConnection.left = number
        with open_database(copy).connection():
            os._exit(0)
    if not os.waitpid(child, 0)[1]:
        break
"""


def test_killed_migration_leaves_the_old_file_or_the_new_one(path: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, path], cwd=ROOT, check=True, timeout=60)
    old = read_shape(path)
    read_fruit(new := tmp_path / "new.sqlite")
    copies = list(tmp_path.glob("killed-*.sqlite"))
    shapes = [read_shape(copy) for copy in copies]
    assert old in shapes
    assert all(shape in (old, read_shape(new)) for shape in shapes)
    assert len(copies) > 10
    assert all(read_fruit(copy) == [("fig", 0, None), ("plum", 0, None)] for copy in copies)
