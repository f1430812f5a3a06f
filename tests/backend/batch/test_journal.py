"""The journal of a batch: entries, locks, kills and unusable files."""

import math
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.batch.journal import (
    SCHEMA,
    BatchJournal,
    DocumentState,
    JournalEntry,
    VersionTotals,
    compute_text_digest,
)
from tagalong.ner.errors import StateFileError
from tests.errors import raises

ROOT = Path(__file__).parents[3]
KILLED = """
import os, signal, sys
from pathlib import Path
from tagalong.backend.batch.journal import BatchJournal, JournalEntry, DocumentState
journal = BatchJournal(Path(sys.argv[1]))
journal.write_description({"source": "s"})
for position in range(100):
    state = DocumentState.PREDICTED
    journal.write_entries([JournalEntry(position, str(position), b"", state, "v", 1, "{}")])
os.kill(os.getpid(), signal.SIGKILL)
"""


def entry(position: int, state: DocumentState = DocumentState.PREDICTED) -> JournalEntry:
    return JournalEntry(
        position,
        f"k{position}",
        compute_text_digest(str(position)),
        state,
        "v",
        position,
        f"answer {position}",
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl.journal"


def test_entries_round_trip(path: Path) -> None:
    with BatchJournal(path) as journal:
        assert journal.read_description() == {}
        journal.write_description({"source": "s", "version": "v"})
        journal.write_entries([entry(2), entry(0)])
        journal.write_entries([entry(1, DocumentState.FAILED)])
    with BatchJournal(path) as journal:
        assert journal.read_description() == {"source": "s", "version": "v"}
        assert list(journal.iterate_entries()) == [
            entry(0),
            entry(1, DocumentState.FAILED),
            entry(2),
        ]
        assert journal.read_entries_by_key(["k0", "k2", "k9"]) == {"k0": entry(0), "k2": entry(2)}
        assert journal.count_by_state() == {DocumentState.PREDICTED: 2, DocumentState.FAILED: 1}


def test_delivered_entry_drops_its_payload(path: Path) -> None:
    with BatchJournal(path) as journal:
        journal.write_entries([entry(0), entry(1), entry(2)])
        journal.set_state([entry(0), entry(1)], DocumentState.SENDING)
        assert [one.payload for one in journal.read_entries(DocumentState.SENDING)] == [
            "answer 0",
            "answer 1",
        ]
        journal.set_state([entry(0)], DocumentState.DELIVERED)
        assert [one.payload for one in journal.read_entries(DocumentState.DELIVERED)] == [""]
        [waiting] = journal.read_entries(DocumentState.PREDICTED, limit=1)
        assert waiting.position == 2


def test_entries_are_written_atomically(path: Path) -> None:
    with BatchJournal(path) as journal:
        journal.write_entries([entry(1)])
        with pytest.raises(StateFileError):  # two positions cannot have one id
            journal.write_entries([entry(0), replace(entry(2), key="k1")])
        assert [one.position for one in journal.iterate_entries()] == [1]
        journal.write_entries([entry(0)])  # the journal is still usable


def test_new_prediction_replaces_the_old_one(path: Path) -> None:
    with BatchJournal(path) as journal:
        journal.write_entries([entry(0), entry(1)], seconds=3.0)
        updated = replace(entry(0), version="w", payload="another", entities=7)
        journal.write_entries([updated], seconds=5.0)
        assert journal.read_entries(DocumentState.PREDICTED) == [updated, entry(1)]
        assert journal.read_version_totals() == {
            "v": VersionTotals(1, 1, 3.0),
            "w": VersionTotals(1, 7, 5.0),
        }


def test_predictions_sent_twice_are_possible_duplicates(path: Path) -> None:
    with BatchJournal(path) as journal:
        journal.write_entries([entry(0), entry(1), entry(2)])
        journal.set_state([entry(0), entry(1)], DocumentState.SENDING)
        journal.set_state([entry(1)], DocumentState.PREDICTED)
        journal.set_state([entry(1), entry(2)], DocumentState.SENDING)
        assert journal.read_possible_duplicates(limit=9) == []  # not while it is in flight
        journal.set_state([entry(0), entry(1), entry(2)], DocumentState.DELIVERED)
        [doubtful] = journal.read_possible_duplicates(limit=9)
        assert doubtful.key == "k1"
        journal.mark_sent_once([doubtful])
        assert journal.read_possible_duplicates(limit=9) == []


def test_failed_entries_with_a_version_are_possible_duplicates(path: Path) -> None:
    with BatchJournal(path) as journal:
        journal.write_entries([entry(0), entry(1)], seconds=1.0)
        for _ in range(2):
            journal.set_state([entry(0), entry(1)], DocumentState.SENDING)
        journal.set_state([entry(0), entry(1)], DocumentState.FAILED, reason="no answer")
        assert [one.key for one in journal.read_possible_duplicates(limit=9)] == ["k0", "k1"]
        assert journal.read_version_totals() == {
            "v": VersionTotals(0, 0, 1.0)
        }  # but it counts for no version
        # A later read failed, so there is no version to look for.
        journal.write_entries([replace(entry(1, DocumentState.FAILED), version="")])
        assert [one.key for one in journal.read_possible_duplicates(limit=9)] == ["k0"]


def test_absent_documents_are_forgotten(path: Path) -> None:
    with BatchJournal(path) as journal:
        assert journal.read_last_entry() is None
        states = [
            DocumentState.PREDICTED,
            DocumentState.DEFERRED,
            DocumentState.DELIVERED,
            DocumentState.PREDICTED,
            DocumentState.PREDICTED,
        ]
        journal.write_entries([entry(number, state) for number, state in enumerate(states)])
        assert journal.read_last_entry() == entry(4)
        assert journal.read_entries(DocumentState.PREDICTED, until_position=3) == [
            entry(0),
            entry(3),
        ]
        journal.delete_absent(0, 3, present_positions=[3])
        assert [one.position for one in journal.iterate_entries()] == [0, 2, 3, 4]
        journal.delete_absent(0)
        assert [one.position for one in journal.iterate_entries()] == [0, 2]


@given(
    worths=st.lists(st.floats(0, 9), max_size=12), share=st.floats(0, 1), aside=st.integers(0, 3)
)
def test_most_uncertain_documents_are_selected(
    worths: list[float], share: float, aside: int
) -> None:
    held = [
        replace(entry(position, DocumentState.DEFERRED), expected_errors=worth)
        for position, worth in enumerate(worths)
    ]
    others = [
        replace(entry(90 + n, DocumentState.FAILED), expected_errors=99.0) for n in range(aside)
    ]
    with TemporaryDirectory() as folder, BatchJournal(Path(folder) / "j") as journal:
        journal.write_entries([*held, *others])
        count = journal.select_for_second_pass(share)
        assert count == math.ceil(share * len(worths))
        chosen = {one.key: one for one in journal.read_entries(DocumentState.DEFERRED)}
        assert len(chosen) == count
        left = [one.expected_errors for one in held if one.key not in chosen]
        assert all(one.expected_errors >= worst for one in chosen.values() for worst in left)
        assert chosen.keys().isdisjoint(one.key for one in others)
        assert journal.select_for_second_pass(share) == count  # a second call changes nothing
        assert {one.key for one in journal.read_entries(DocumentState.DEFERRED)} == set(chosen)
        assert journal.select_for_second_pass(0.0) == 0
        assert len(journal.read_entries(DocumentState.PREDICTED)) == len(worths)


def test_committed_entries_survive_a_kill(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    with BatchJournal(path) as journal:
        assert journal.count_by_state() == {DocumentState.PREDICTED: 100}


def test_journal_is_locked_by_one_batch(path: Path) -> None:
    with BatchJournal(path), raises(StateFileError, "state-file-in-use"):
        BatchJournal(path)
    with BatchJournal(path):
        pass


def damaged(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + os.urandom(5000))


def of_somebody_else(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")


def of_another_release(path: Path) -> None:
    with BatchJournal(path):
        pass
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA.version + 1}")


def a_text(path: Path) -> None:
    path.write_text("not a database " * 100)


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (damaged, "state-file-unusable"),
        (a_text, "state-file-unusable"),
        (of_somebody_else, "state-file-of-another-program"),
        (of_another_release, "state-file-of-another-format"),
    ],
)
def test_other_files_are_refused_and_unchanged(path: Path, damage, code: str) -> None:
    damage(path)
    before = path.read_bytes()
    with raises(StateFileError, code):
        BatchJournal(path)
    assert path.read_bytes()[100:] == before[100:]


EARLIER_RELEASE = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO about VALUES ('labels', ''), ('output', 'JSON lines'), ('readers', 'lexicon-1'),
    ('source', 's');
CREATE TABLE documents (place INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, digest BLOB NOT NULL,
    state INTEGER NOT NULL, tier TEXT NOT NULL, entities INTEGER NOT NULL, answer TEXT NOT NULL,
    worth REAL NOT NULL, chosen INTEGER NOT NULL, sent INTEGER NOT NULL);
INSERT INTO documents VALUES
    (0, 'k0', X'27C35E6E9373877F29E562464E46497E', 0, 'lexicon-1', 2, '{}', 0.5, 0, 3);
CREATE TABLE spent (tier TEXT PRIMARY KEY, seconds REAL NOT NULL) WITHOUT ROWID;
INSERT INTO spent VALUES ('lexicon-1', 1.5);
CREATE INDEX documents_by_state ON documents (state, place);
CREATE INDEX documents_in_doubt ON documents (place) WHERE sent > 1;
PRAGMA application_id = 1952540524;
PRAGMA user_version = 2;
"""  # dump of a journal of an earlier release


def test_journal_of_an_earlier_release_is_read(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(EARLIER_RELEASE)
    with BatchJournal(path) as journal:
        assert journal.read_description()["readers"] == "lexicon-1"
        [found] = journal.iterate_entries()
        assert found == JournalEntry(
            position=0,
            key="k0",
            digest=compute_text_digest("a"),
            state=DocumentState.PREDICTED,
            version="lexicon-1",
            entities=2,
            payload="{}",
            expected_errors=0.5,
            send_count=3,
        )
        assert journal.read_version_totals() == {"lexicon-1": VersionTotals(1, 2, 1.5)}


def test_removed_journal_leaves_no_files(path: Path) -> None:
    journal = BatchJournal(path)
    journal.write_entries([entry(0)])
    journal.remove()
    assert list(path.parent.iterdir()) == []
