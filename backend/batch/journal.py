"""What a batch has done, in one SQLite file: whatever ends it, the next run goes on from there.

A document is nowhere in it until it has been predicted. Then its answer waits here; it is on its
way, which may end before or after it has arrived; it is delivered; or the document was set aside,
because no tier could read it. Commits outlive the process whatever kills it; when the power fails,
the last ones may be lost, and are then predicted again.
"""

import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Self

from tagalong.backend.batch.entry import DocumentState, JournalEntry, VersionTotals
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
MAX_POSITION = 2**63 - 1  # no place is behind it, in SQLite
DOCUMENT_COLUMNS = "place, key, digest, state, tier, entities, answer, worth, sent"


def _write_description(connection: sqlite3.Connection, about: Mapping[str, str]) -> None:
    """Note what a journal is of, in place of what it was of."""
    connection.execute("DELETE FROM about")
    connection.executemany("INSERT INTO about VALUES (?, ?)", list(about.items()))


class BatchJournal(AbstractContextManager["BatchJournal"]):
    """The journal of one batch, held by one process at a time; its threads take turns.

    Args:
        path: Of the file; made where it is missing.

    Raises:
        JournalError: If it cannot be used, is of another release, or another batch holds it.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(
            path, SCHEMA, consequence="the batch cannot go on", is_exclusive=True
        )
        with self._database.connection():  # opens the file, so that errors come before any work
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._database.path

    def close(self) -> None:
        """Close the file; whoever comes next goes on from what is in it."""
        self._database.close()

    def remove(self) -> None:
        """Remove it: the batch is done, and nothing of it is left to do."""
        self._database.remove()

    def read_description(self) -> dict[str, str]:
        """What batch it is of; empty for a new one."""
        with self._database.connection() as connection:
            return dict(connection.execute("SELECT name, value FROM about").fetchall())

    def reset(self, description: Mapping[str, str]) -> None:
        """Begin anew, for this batch: whatever was known is forgotten.

        Args:
            description: What tells it from others.

        Raises:
            JournalError: If the file cannot be used.
        """
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM documents")
            connection.execute("DELETE FROM spent")
            _write_description(connection, description)

    def write_description(self, description: Mapping[str, str]) -> None:
        """Go on with what is known, as this batch.

        Args:
            description: What tells it from others.

        Raises:
            JournalError: If the file cannot be used.
        """
        with self._database.transaction() as connection:
            _write_description(connection, description)

    def read_entries_by_key(self, keys: Sequence[str]) -> dict[str, JournalEntry]:
        """Which documents are in it.

        Args:
            keys: Ids of documents.

        Returns:
            What is known of each that is.

        Raises:
            JournalError: If the file cannot be used.
        """
        marks = ", ".join("?" * len(keys))
        found = self._query_entries(f"WHERE key IN ({marks})", tuple(keys))
        return {entry.key: entry for entry in found}

    def write_entries(self, entries: Sequence[JournalEntry], *, seconds: float = 0.0) -> None:
        """Keep what was predicted, all of it or, where that fails, nothing.

        Args:
            entries: Of documents; what was known of those that are in it gives way, except for how
                often they were sent.
            seconds: That predicting took; counted for the tiers that answered.

        Raises:
            JournalError: If the file cannot be used, or a document of another place has that id.
        """
        tiers = [entry.version for entry in entries if entry.version]
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT INTO documents VALUES (:position, :key, :digest, :state, :version, :entities, "
                ":payload, :expected_errors, 0, :send_count) ON CONFLICT (place) DO UPDATE SET key = excluded.key, "
                "digest = excluded.digest, state = excluded.state, tier = excluded.tier, "
                "entities = excluded.entities, answer = excluded.answer, worth = excluded.worth",
                map(asdict, entries),
            )
            connection.executemany(
                "INSERT INTO spent VALUES (?, ?) "
                "ON CONFLICT (tier) DO UPDATE SET seconds = seconds + excluded.seconds",
                [(tier, seconds / len(tiers)) for tier in tiers],
            )

    def set_state(
        self, entries: Sequence[JournalEntry], state: DocumentState, *, reason: str = ""
    ) -> None:
        """Note where documents are now.

        Args:
            entries: Of the documents.
            state: Where they are. Once delivered, an answer is let go.
            reason: Why they were set aside, where they are.

        Raises:
            JournalError: If the file cannot be used.
        """
        change = {
            DocumentState.PREDICTED: "answer = answer",
            DocumentState.DEFERRED: "answer = answer",
            DocumentState.SENDING: "sent = sent + 1",
            DocumentState.DELIVERED: "answer = ''",
            DocumentState.FAILED: "answer = :because",
        }[state]
        query = f"UPDATE documents SET state = :state, {change} WHERE place = :place"  # noqa: S608
        with self._database.transaction() as connection:
            connection.executemany(
                query,
                [{"state": state, "place": one.position, "because": reason} for one in entries],
            )

    def reset_failed(self) -> None:
        """Let what was set aside be tried again, unless it turns out to have arrived.

        Of what was delivered and could not be predicted when its text had changed, the target holds
        the old answer: that is noted, as one of another text, so that it gives way to a new one.
        """
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE documents SET state = ?, answer = '', digest = x'' "
                "WHERE state = ? AND sent > 0 AND tier = ''",
                (DocumentState.DELIVERED, DocumentState.FAILED),
            )
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
        """Forget the answers that wait for documents which the source has no more.

        Args:
            after_position: Of places behind this one.
            until_position: Of places up to this one.
            present_positions: Places that the source has.

        Raises:
            JournalError: If the file cannot be used.
        """
        marks = ", ".join("?" * len(present_positions))
        which = f"state IN (?, ?) AND place > ? AND place <= ? AND place NOT IN ({marks})"
        values = (
            DocumentState.PREDICTED,
            DocumentState.DEFERRED,
            after_position,
            until_position,
            *present_positions,
        )
        with self._database.transaction() as connection:
            connection.execute(f"DELETE FROM documents WHERE {which}", values)  # noqa: S608

    def read_possible_duplicates(self, *, limit: int) -> list[JournalEntry]:
        """Documents that were sent more than once, and so may have arrived more than once.

        What was set aside is among them: of a request that timed out, nobody knows. What was sent
        once, and is not on its way, Label Studio has answered for.

        Args:
            limit: At most this many.

        Returns:
            Those that are delivered or set aside, in the order of the source.

        Raises:
            JournalError: If the file cannot be used.
        """
        # The plus keeps SQLite from going by state, which is that of nearly all.
        rest = "WHERE sent > 1 AND +state IN (?, ?) AND tier <> '' ORDER BY place LIMIT ?"
        return list(
            self._query_entries(rest, (DocumentState.DELIVERED, DocumentState.FAILED, limit))
        )

    def mark_sent_once(self, entries: Sequence[JournalEntry]) -> None:
        """Note that documents have arrived once and no more.

        Args:
            entries: Of the documents.

        Raises:
            JournalError: If the file cannot be used.
        """
        with self._database.transaction() as connection:
            connection.executemany(
                "UPDATE documents SET sent = 1 WHERE place = ?",
                [(one.position,) for one in entries],
            )

    def select_for_second_tier(self, share: float) -> int:
        """Choose the documents that are worth most, and let the others that are held go.

        Args:
            share: How many of them, from 0 to 1; of a part of a document, the whole.

        Returns:
            How many were chosen.

        Raises:
            JournalError: If the file cannot be used.
        """
        best = "SELECT place FROM documents WHERE state <> ? ORDER BY worth DESC, place LIMIT ?"
        with self._database.transaction() as connection:
            (count,) = connection.execute(
                "SELECT COUNT(*) FROM documents WHERE state <> ?", (DocumentState.FAILED,)
            ).fetchone()
            connection.execute("UPDATE documents SET chosen = 0 WHERE chosen")
            found = connection.execute(
                f"UPDATE documents SET chosen = 1 WHERE place IN ({best})",  # noqa: S608
                (DocumentState.FAILED, math.ceil(share * count)),
            ).rowcount
            connection.execute(
                "UPDATE documents SET state = ? WHERE state = ? AND NOT chosen",
                (DocumentState.PREDICTED, DocumentState.DEFERRED),
            )
        return found

    def read_entries(
        self, state: DocumentState, *, limit: int = -1, until_position: int = MAX_POSITION
    ) -> list[JournalEntry]:
        """The documents in a state, in the order of the source.

        Args:
            state: Which.
            limit: At most this many; all if negative.
            until_position: Of places up to this one.

        Returns:
            The documents.

        Raises:
            JournalError: If the file cannot be used.
        """
        rest = "WHERE state = ? AND place <= ? ORDER BY place LIMIT ?"
        return list(self._query_entries(rest, (state, until_position, limit)))

    def read_last_entry(self) -> JournalEntry | None:
        """The last document in the order of the source; None where there is none."""
        found = list(self._query_entries("ORDER BY place DESC LIMIT 1", ()))
        return found[0] if found else None

    def iterate_entries(self) -> Iterator[JournalEntry]:
        """All documents in the order of the source, read as they are asked for.

        Yields:
            Each of them.

        Raises:
            JournalError: If the file cannot be used.
        """
        yield from self._query_entries("ORDER BY place", ())

    def count_by_state(self) -> dict[DocumentState, int]:
        """How many documents are in each state."""
        with self._database.connection() as connection:
            rows = connection.execute("SELECT state, COUNT(*) FROM documents GROUP BY state")
            return {DocumentState(state): count for state, count in rows}

    def read_version_totals(self) -> dict[str, VersionTotals]:
        """What each tier answered, without what was set aside."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT spent.tier, COUNT(place), COALESCE(SUM(entities), 0), seconds FROM spent "
                "LEFT JOIN documents ON documents.tier = spent.tier AND state <> ? "
                "GROUP BY spent.tier",
                (DocumentState.FAILED,),
            )
            return {tier: VersionTotals(*figures) for tier, *figures in rows}

    def _query_entries(self, rest: str, values: tuple[int | str, ...]) -> Iterator[JournalEntry]:
        """Read documents."""
        query = f"SELECT {DOCUMENT_COLUMNS} FROM documents {rest}"  # noqa: S608
        with self._database.connection() as connection:
            for place, key, digest, state, *others in connection.execute(query, values):
                yield JournalEntry(place, key, digest, DocumentState(state), *others)
