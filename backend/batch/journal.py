"""The progress of a batch in one SQLite file, so that an interrupted batch continues.

A document is added once it is predicted. Then its prediction waits, is being sent, or is delivered;
a document that no model could predict has failed. Commits survive the death of the process. A power
failure may undo the last ones, and these documents are then predicted again.

The SQL columns keep the names of earlier releases, so that their journals are read. Place is the
position, tier the version, answer the payload, worth the expected errors, and sent the send count.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from enum import IntEnum
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from tagalong.backend.storage.database import Database, DatabaseSchema

SCHEMA = DatabaseSchema(
    version=2,
    application_id=0x7461676C,  # "tagl"
    sql="""
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
""",
)
MAX_POSITION = 2**63 - 1  # the largest integer of SQLite
DOCUMENT_COLUMNS = "place, key, digest, state, tier, entities, answer, worth, sent"


class DocumentState(IntEnum):
    """The progress of a document. The numbers are in journals."""

    PREDICTED = 0  # waits for delivery
    SENDING = 1  # was sent, and may have arrived
    DELIVERED = 2
    FAILED = 3  # has no prediction; the payload is the reason
    DEFERRED = 4  # waits until the documents for the second pass are chosen


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A document of the batch."""

    position: int  # in the source, from 0
    key: str  # the document's id in the source
    digest: bytes  # of its text, by `compute_text_digest`
    state: DocumentState
    version: str  # the model version that predicted it; empty where none could
    entities: int
    payload: str  # the serialized prediction, or why there is none; empty once delivered
    expected_errors: float = 0.0  # orders documents for the second pass
    send_count: int = 0


class VersionTotals(NamedTuple):
    """The work of one model version."""

    documents: int
    entities: int
    seconds: float  # spent on predicting


def compute_text_digest(text: str) -> bytes:
    """Identify a text by 16 bytes."""
    return blake2b(text.encode(), digest_size=16).digest()


class BatchJournal(AbstractContextManager["BatchJournal"]):
    """The journal of one batch, locked by one process; its threads take turns.

    Raises:
        StateFileError: If it cannot be used, is of another release, or is locked by another batch.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database = Database(
            path, SCHEMA, consequence="the batch cannot go on", is_exclusive=True
        )
        with self._database.connection():  # opens the file, so that errors come before any work
            pass

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def remove(self) -> None:
        """Delete the file of a finished batch."""
        self._database.remove()

    def read_description(self) -> dict[str, str]:
        """The batch that the journal belongs to; empty for a new journal."""
        with self._database.connection() as connection:
            return dict(connection.execute("SELECT name, value FROM about").fetchall())

    def write_description(
        self, description: Mapping[str, str], *, keep_entries: bool = False
    ) -> None:
        """Start the batch of this description, with all entries or none."""
        with self._database.transaction() as connection:
            for table in ("about",) if keep_entries else ("about", "documents", "spent"):
                connection.execute(f"DELETE FROM {table}")  # noqa: S608
            connection.executemany("INSERT INTO about VALUES (?, ?)", list(description.items()))

    def read_entries_by_key(self, keys: Sequence[str]) -> dict[str, JournalEntry]:
        """The entries of these documents, without those that have none."""
        rest = f"WHERE key IN ({', '.join('?' * len(keys))})"
        return {entry.key: entry for entry in self._query_entries(rest, tuple(keys))}

    def write_entries(self, entries: Sequence[JournalEntry], *, seconds: float = 0.0) -> None:
        """Write all entries, or on an error none; add the time to the versions that predicted."""
        versions = [entry.version for entry in entries if entry.version]
        with self._database.transaction() as connection:
            connection.executemany(
                # The send count of a document stays, whatever its new prediction is.
                "INSERT INTO documents VALUES (:position, :key, :digest, :state, :version, "
                ":entities, :payload, :expected_errors, 0, :send_count) "
                "ON CONFLICT (place) DO UPDATE SET key = excluded.key, digest = excluded.digest, "
                "state = excluded.state, tier = excluded.tier, "
                "entities = excluded.entities, answer = excluded.answer, worth = excluded.worth",
                map(asdict, entries),
            )
            connection.executemany(
                "INSERT INTO spent VALUES (?, ?) "
                "ON CONFLICT (tier) DO UPDATE SET seconds = seconds + excluded.seconds",
                [(version, seconds / len(versions)) for version in versions],
            )

    def set_state(
        self, entries: Sequence[JournalEntry], state: DocumentState, *, reason: str = ""
    ) -> None:
        """Change the state; delivery deletes the payload, sending counts up."""
        change = {
            DocumentState.SENDING: ", sent = sent + 1",
            DocumentState.DELIVERED: ", answer = ''",
            DocumentState.FAILED: ", answer = :because",
        }.get(state, "")
        query = f"UPDATE documents SET state = :state{change} WHERE place = :place"  # noqa: S608
        values = [{"state": state, "place": one.position, "because": reason} for one in entries]
        with self._database.transaction() as connection:
            connection.executemany(query, values)

    def reset_failed(self) -> None:
        """Delete failed documents so that they are tried again, unless they may have arrived."""
        # A failed document without a version was delivered before its text changed. The sink has
        # the old prediction: an empty digest makes a new one replace it.
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE documents SET state = ?, answer = '', digest = x'' "
                "WHERE state = ? AND sent > 0 AND tier = ''",
                (DocumentState.DELIVERED, DocumentState.FAILED),
            )
            # Sent more than once: it may have arrived after all.
            connection.execute(
                "UPDATE documents SET state = ?, answer = '' WHERE state = ? AND sent > 1",
                (DocumentState.DELIVERED, DocumentState.FAILED),
            )
            connection.execute("DELETE FROM documents WHERE state = ?", (DocumentState.FAILED,))

    def delete_absent(
        self,
        after_position: int,
        until_position: int = MAX_POSITION,
        *,
        present_positions: Sequence[int] = (),
    ) -> None:
        """Delete waiting predictions between two positions, but for the present documents."""
        marks = ", ".join("?" * len(present_positions))
        which = f"state IN (?, ?) AND place > ? AND place <= ? AND place NOT IN ({marks})"
        waiting = (DocumentState.PREDICTED, DocumentState.DEFERRED)
        values = (*waiting, after_position, until_position, *present_positions)
        with self._database.transaction() as connection:
            connection.execute(f"DELETE FROM documents WHERE {which}", values)  # noqa: S608

    def read_possible_duplicates(self, *, limit: int) -> list[JournalEntry]:
        """Documents that were sent more than once, and so may have several predictions."""
        # Failed ones too: a request that timed out may have arrived. The plus keeps SQLite from
        # using the index on state, which nearly all documents share.
        rest = "WHERE sent > 1 AND +state IN (?, ?) AND tier <> '' ORDER BY place LIMIT ?"
        ended = (DocumentState.DELIVERED, DocumentState.FAILED)
        return list(self._query_entries(rest, (*ended, limit)))

    def mark_sent_once(self, entries: Sequence[JournalEntry]) -> None:
        """Record that documents have one prediction each."""
        positions = [(one.position,) for one in entries]
        with self._database.transaction() as connection:
            connection.executemany("UPDATE documents SET sent = 1 WHERE place = ?", positions)

    def select_for_second_pass(self, share: float) -> int:
        """Choose the share of documents with most expected errors, rounded up; returns how many.

        The others may be delivered.
        """
        best = "SELECT place FROM documents WHERE state <> ? ORDER BY worth DESC, place LIMIT ?"
        predicted = "SELECT COUNT(*) FROM documents WHERE state <> ?"
        with self._database.transaction() as connection:
            (count,) = connection.execute(predicted, (DocumentState.FAILED,)).fetchone()
            connection.execute("UPDATE documents SET chosen = 0 WHERE chosen")
            chosen = connection.execute(
                f"UPDATE documents SET chosen = 1 WHERE place IN ({best})",  # noqa: S608
                (DocumentState.FAILED, math.ceil(share * count)),
            ).rowcount
            connection.execute(
                "UPDATE documents SET state = ? WHERE state = ? AND NOT chosen",
                (DocumentState.PREDICTED, DocumentState.DEFERRED),
            )
        return chosen

    def read_entries(
        self, state: DocumentState, *, limit: int = -1, until_position: int = MAX_POSITION
    ) -> list[JournalEntry]:
        """The documents in a state, in the order of the source; a negative limit means all."""
        rest = "WHERE state = ? AND place <= ? ORDER BY place LIMIT ?"
        return list(self._query_entries(rest, (state, until_position, limit)))

    def read_last_entry(self) -> JournalEntry | None:
        """The last document in the order of the source; None in an empty journal."""
        return next(self._query_entries("ORDER BY place DESC LIMIT 1", ()), None)

    def iterate_entries(self) -> Iterator[JournalEntry]:
        """Stream all documents in the order of the source."""
        return self._query_entries("ORDER BY place", ())

    def count_by_state(self) -> dict[DocumentState, int]:
        """The number of documents in each state."""
        with self._database.connection() as connection:
            rows = connection.execute("SELECT state, COUNT(*) FROM documents GROUP BY state")
            return {DocumentState(state): count for state, count in rows}

    def read_version_totals(self) -> dict[str, VersionTotals]:
        """The work of each version, failed documents excluded."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT spent.tier, COUNT(place), COALESCE(SUM(entities), 0), seconds FROM spent "
                "LEFT JOIN documents ON documents.tier = spent.tier AND state <> ? "
                "GROUP BY spent.tier",
                (DocumentState.FAILED,),
            )
            return {version: VersionTotals(*totals) for version, *totals in rows}

    def _query_entries(self, rest: str, values: tuple[int | str, ...]) -> Iterator[JournalEntry]:
        query = f"SELECT {DOCUMENT_COLUMNS} FROM documents {rest}"  # noqa: S608
        with self._database.connection() as connection:
            for position, key, digest, state, *others in connection.execute(query, values):
                yield JournalEntry(position, key, digest, DocumentState(state), *others)
