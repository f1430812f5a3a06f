"""One batch: documents in, each predicted once and handed over once, from wherever it stands.

What an earlier run left waiting is handed over only once its document was looked at again: its text
may have changed meanwhile, or it may be gone. A source comes in the order of its places, so all up
to some place have been looked at, and none behind it.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from tagalong.backend.batch.engine import Engine, PredictionFailure
from tagalong.backend.batch.entry import DocumentState, JournalEntry, compute_text_digest
from tagalong.backend.batch.journal import BatchJournal
from tagalong.backend.batch.routing import compute_expected_errors
from tagalong.backend.batch.sink import PredictionSink
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import BatchError

CHUNK_DOCUMENTS = 64  # documents predicted and noted together
MAX_CONSECUTIVE_FAILURES = (
    32  # documents in a row without a single prediction, before it is not their fault
)


@dataclass(frozen=True, slots=True)
class SourceItem:
    """What a source holds at one place.

    Attributes:
        position: Grows in the order of the source: a line's number from 0, or a task's id.
        key: Its id there; no other item has it.
        document: None where there is none to read.
        read_error: Why it cannot be read, where it cannot.
        is_predicted: Whether it has been predicted already, and not by this batch.
    """

    position: int
    key: str
    document: Document | None
    read_error: str = ""
    is_predicted: bool = False


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """How far a batch is.

    Attributes:
        finished: Documents that need no more work, those of earlier runs included.
        finished_before: Of these, how many needed none when this run began.
        failed: Set aside, of those that are done.
        entities: Found by this run.
        documents_by_version: Documents that each tier has answered in this run.
        seconds: Since this run began.
    """

    finished: int
    finished_before: int
    failed: int
    entities: int
    documents_by_version: Counter[str] = field(hash=False)
    seconds: float

    @property
    def documents_per_second(self) -> float:
        """Documents a second in this run."""
        return (self.finished - self.finished_before) / self.seconds if self.seconds else 0.0


ProgressCallback = Callable[[BatchProgress], None]


class BatchRunner:
    """Runs a batch on.

    Args:
        journal: Of the batch.
        sink: Where predictions go.
    """

    def __init__(self, journal: BatchJournal, sink: PredictionSink) -> None:
        self._journal, self._sink = journal, sink
        self._in_flight_positions: dict[
            str, int
        ] = {}  # documents that an engine has and no answer came for
        self._read_position = self._predicted_position = -1  # places up to which this run has come
        self._consecutive_failures = 0  # documents since the last prediction

    def predict(
        self,
        items: Iterable[SourceItem],
        engine: Engine,
        *,
        defer: bool = False,
        on_progress: ProgressCallback = lambda _: None,
    ) -> None:
        """Predict what has not been predicted.

        Args:
            items: The whole source, in its order; what is in the journal as it is now is passed
                over, and what waits there of documents that are not is not handed over.
            engine: Predicts.
            defer: Hand nothing over, because some of it will be read again.
            on_progress: Told how far it is, after every chunk.

        Raises:
            BatchError: If the source is not the one that the journal knows, names two documents
                alike, or if nothing can be predicted any more.
            JournalError: If the journal cannot be used.
        """

        def entry_of(item: SourceItem, answer: Prediction | PredictionFailure) -> JournalEntry:
            entry = self._make_entry(item, answer)
            held = defer and entry.state is DocumentState.PREDICTED
            return replace(entry, state=DocumentState.DEFERRED) if held else entry

        self._read_position = self._predicted_position = -1
        self._run_chunks(items, engine, self._find_unpredicted, entry_of, on_progress)
        self._sink.on_source_end(self._journal, self._read_position)

    def predict_selected(
        self,
        items: Iterable[SourceItem],
        engine: Engine,
        *,
        on_progress: ProgressCallback = lambda _: None,
    ) -> None:
        """Predict anew what was chosen for it; what cannot be keeps the answer it has.

        Args:
            items: The whole source, in its order, looked at once more: this may come hours later.
            engine: Predicts.
            on_progress: Told how far it is, after every chunk.

        Raises:
            BatchError: If nothing can be predicted any more.
            JournalError: If the journal cannot be used.
        """
        before: dict[str, JournalEntry] = {}

        def wanted(chunk: Sequence[SourceItem]) -> list[SourceItem]:
            known = self._journal.read_entries_by_key([item.key for item in chunk])
            before.update(
                (item.key, entry)
                for item in chunk
                if (entry := known.get(item.key)) is not None
                # What was not chosen waits already; an answer to another text is none.
                and (
                    entry.state is DocumentState.DEFERRED
                    or (
                        entry.state is DocumentState.PREDICTED
                        and entry.digest != _compute_item_digest(item)
                    )
                )
            )
            self._mark_read(chunk)
            return [item for item in chunk if item.key in before]

        def entry_of(item: SourceItem, answer: Prediction | PredictionFailure) -> JournalEntry:
            was = before.pop(item.key)
            if was.digest != _compute_item_digest(item):
                return replace(self._make_entry(item, answer), expected_errors=was.expected_errors)
            found = was if isinstance(answer, PredictionFailure) else self._make_entry(item, answer)
            return replace(
                found, state=DocumentState.PREDICTED, expected_errors=was.expected_errors
            )

        self._read_position = self._predicted_position = -1
        self._run_chunks(items, engine, wanted, entry_of, on_progress)
        self._sink.on_source_end(self._journal, self._read_position)

    def _run_chunks(
        self,
        items: Iterable[SourceItem],
        engine: Engine,
        wanted: Callable[[Sequence[SourceItem]], list[SourceItem]],
        entry_of: Callable[[SourceItem, Prediction | PredictionFailure], JournalEntry],
        report: ProgressCallback,
    ) -> None:
        """Have an engine predict what is wanted, and keep what it says."""
        began = since = time.monotonic()
        done = before = aside = entities = 0
        tiers: Counter[str] = Counter()
        waiting: deque[tuple[list[SourceItem], list[SourceItem]]] = deque()
        self._in_flight_positions.clear()

        def chunks() -> Iterator[list[Document]]:
            left = iter(items)
            while chunk := list(islice(left, CHUNK_DOCUMENTS)):
                some = wanted(chunk)
                self._in_flight_positions.update((item.key, item.position) for item in some)
                waiting.append((chunk, some))
                yield [item.document for item in some if item.document is not None]

        for answers in engine(chunks()):
            chunk, some = waiting.popleft()
            answered = _merge_read_errors(some, answers)
            self._check_consecutive_failures(answered)
            found = [entry_of(item, answer) for item, answer in zip(some, answered, strict=True)]
            self._journal.write_entries(found, seconds=time.monotonic() - since)
            for item in some:
                del self._in_flight_positions[item.key]
            self._predicted_position = max(self._predicted_position, chunk[-1].position)
            self._sink.deliver(self._journal, self._predicted_position)
            since = time.monotonic()
            done += len(chunk)
            before += len(chunk) - len(some)
            entities += sum(entry.entities for entry in found)
            aside += sum(entry.state is DocumentState.FAILED for entry in found)
            tiers.update(entry.version for entry in found if entry.version)
            report(BatchProgress(done, before, aside, entities, tiers, since - began))

    def _find_unpredicted(self, chunk: Sequence[SourceItem]) -> list[SourceItem]:
        """The items without an answer, with one of another text, or with one that was removed."""
        known = self._journal.read_entries_by_key([item.key for item in chunk])
        places = {key: entry.position for key, entry in known.items()}
        keys = {item.position: item.key for item in chunk}
        fresh, stored = [], []
        for item in chunk:
            # An engine may ask for chunks in a thread of its own, ahead of those it answers.
            place = places.setdefault(
                item.key, self._in_flight_positions.get(item.key, item.position)
            )
            # What came before in this run is where the journal has it, or was refused.
            if place < item.position and keys.get(place, item.key) == item.key:
                raise BatchError(
                    f"the documents {place + 1:,} and {item.position + 1:,} of the source have the "
                    f"same id {item.key!r}: give each its own"
                )
            if place != item.position:
                raise BatchError(
                    f"the source has changed since the batch began, its document {item.key!r} was "
                    f"elsewhere: move {self._journal.path} away to begin anew, or bring the source "
                    "back"
                )
            seen = known.get(item.key)
            ours = seen is not None and seen.send_count and item.document is not None
            if item.is_predicted and not ours:  # an answer that waits would be one too many
                stored += [seen] if seen else []
            elif (
                seen is None
                or seen.digest != _compute_item_digest(item)
                # By an earlier run: nothing is delivered before it is looked at.
                or (seen.state is DocumentState.DELIVERED and not item.is_predicted)
            ):
                fresh.append(item)
        self._journal.set_state(stored, DocumentState.DELIVERED)
        self._mark_read(chunk)
        return fresh

    def _mark_read(self, chunk: Sequence[SourceItem]) -> None:
        """Note that some items were looked at, and forget what waits of those between them."""
        until = chunk[-1].position
        self._journal.delete_absent(
            self._read_position, until, present_positions=[item.position for item in chunk]
        )
        self._read_position = until

    def _check_consecutive_failures(
        self, answers: Sequence[Prediction | PredictionFailure]
    ) -> None:
        """Stop where nothing can be predicted any more: then it is not the documents' fault."""
        for answer in answers:
            self._consecutive_failures = (
                self._consecutive_failures + 1 if isinstance(answer, PredictionFailure) else 0
            )
            if (
                isinstance(answer, PredictionFailure)
                and self._consecutive_failures >= MAX_CONSECUTIVE_FAILURES
            ):
                raise BatchError(
                    f"not one of {self._consecutive_failures} documents in a row could be predicted, the last "
                    f"because: {answer.reason}"
                )

    def _make_entry(self, item: SourceItem, answer: Prediction | PredictionFailure) -> JournalEntry:
        """What the journal keeps of an item."""
        if item.document is None or isinstance(answer, PredictionFailure):
            reason = answer.reason if isinstance(answer, PredictionFailure) else item.read_error
            return JournalEntry(
                item.position,
                item.key,
                _compute_item_digest(item),
                DocumentState.FAILED,
                "",
                0,
                reason,
            )
        return JournalEntry(
            position=item.position,
            key=item.key,
            digest=_compute_item_digest(item),
            state=DocumentState.PREDICTED,
            version=answer.version,
            entities=len(answer.spans),
            payload=self._sink.serialize(item.document, answer),
            expected_errors=compute_expected_errors(answer),
        )


def _merge_read_errors(
    items: Sequence[SourceItem], answers: Sequence[Prediction | PredictionFailure]
) -> list[Prediction | PredictionFailure]:
    """An answer for each item, those included that could not be read."""
    following = iter(answers)
    return [
        PredictionFailure(item.read_error) if item.document is None else next(following)
        for item in items
    ]


def _compute_item_digest(item: SourceItem) -> bytes:
    """What tells the item from another of the same id."""
    return compute_text_digest(item.read_error if item.document is None else item.document.text)


def make_items(documents: Iterable[Document]) -> Iterator[SourceItem]:
    """The documents of a source that has only readable ones.

    Args:
        documents: In its order.

    Yields:
        An item each.
    """
    for place, document in enumerate(documents):
        yield SourceItem(place, document.id, document)
