"""The passes of a batch: every document is predicted and delivered once, also across runs.

A waiting prediction of an earlier run is delivered only after its document was read again. The text
may have changed, or the document may be gone. A source is read in the order of its positions, so
everything up to some position has been read, and nothing after it.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from tagalong.backend.batch.journal import (
    BatchJournal,
    DocumentState,
    JournalEntry,
    compute_text_digest,
)
from tagalong.backend.batch.local_engine import Engine, PredictionFailure, PredictionOutcome
from tagalong.backend.batch.source_and_sink import PredictionSink
from tagalong.backend.documents.source_item import SourceItem
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import BatchError

CHUNK_DOCUMENTS = 64  # predicted and written to the journal together
MAX_CONSECUTIVE_FAILURES = 32  # failures in a row that are not the documents' fault


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """The progress of one pass."""

    finished: int  # documents that are done, by this run or an earlier one
    finished_before: int  # documents that were done before this run
    failed: int  # in this run, as the following
    entities: int
    documents_by_version: Counter[str] = field(hash=False)
    seconds: float  # since the pass began

    @property
    def documents_per_second(self) -> float:
        """The rate of this run."""
        return (self.finished - self.finished_before) / self.seconds if self.seconds else 0.0

    def add_chunk(
        self, chunk: Sequence[SourceItem], entries: Sequence[JournalEntry], seconds: float
    ) -> "BatchProgress":
        """The progress after a chunk, of which these entries were predicted in this run."""
        by_version = Counter(entry.version for entry in entries if entry.version)
        return BatchProgress(
            finished=self.finished + len(chunk),
            finished_before=self.finished_before + len(chunk) - len(entries),
            failed=self.failed + sum(entry.state is DocumentState.FAILED for entry in entries),
            entities=self.entities + sum(entry.entities for entry in entries),
            documents_by_version=self.documents_by_version + by_version,
            seconds=seconds,
        )


BatchProgressCallback = Callable[[BatchProgress], None]


class BatchPasses:
    """The first pass of a batch, and the second one of a cascade."""

    def __init__(self, journal: BatchJournal, sink: PredictionSink) -> None:
        self._journal, self._sink = journal, sink
        self._in_flight_positions: dict[str, int] = {}  # of documents that an engine has
        # The last positions that this run has read and predicted.
        self._read_position = self._predicted_position = -1
        self._consecutive_failures = 0

    def predict(
        self,
        items: Iterable[SourceItem],
        engine: Engine,
        *,
        defer: bool = False,
        on_progress: BatchProgressCallback = lambda _: None,
    ) -> None:
        """Predict the documents that have no prediction of their present text.

        A waiting prediction whose document is not in the source any more is not delivered. Before
        a second pass, delivery is deferred.

        Raises:
            BatchError: If the source does not fit the journal, has two documents with one id, or
                if prediction fails for all documents.
            StateFileError: If the journal cannot be used.
        """

        def make_entry(item: SourceItem, outcome: PredictionOutcome) -> JournalEntry:
            entry = self._make_entry(item, outcome)
            is_deferred = defer and entry.state is DocumentState.PREDICTED
            return replace(entry, state=DocumentState.DEFERRED) if is_deferred else entry

        self._run_chunks(items, engine, self._find_unpredicted, make_entry, on_progress)

    def predict_selected(
        self,
        items: Iterable[SourceItem],
        engine: Engine,
        *,
        on_progress: BatchProgressCallback = lambda _: None,
    ) -> None:
        """Predict the chosen documents again; one that fails keeps its first prediction.

        The source is read again, because hours may have passed. Errors are those of `predict`.
        """
        first_entries: dict[str, JournalEntry] = {}

        def find_chosen(chunk: Sequence[SourceItem]) -> list[SourceItem]:
            entries = self._journal.read_entries_by_key([item.key for item in chunk])
            first_entries.update(
                (item.key, entry)
                for item in chunk
                if (entry := entries.get(item.key)) is not None
                # A document that was not chosen is predicted again only if its text has changed.
                and (
                    entry.state is DocumentState.DEFERRED
                    or (
                        entry.state is DocumentState.PREDICTED
                        and entry.digest != _compute_item_digest(item)
                    )
                )
            )
            self._mark_read(chunk)
            return [item for item in chunk if item.key in first_entries]

        def make_entry(item: SourceItem, outcome: PredictionOutcome) -> JournalEntry:
            first = first_entries.pop(item.key)
            entry = self._make_entry(item, outcome)
            if first.digest == _compute_item_digest(item):
                entry = first if isinstance(outcome, PredictionFailure) else entry
                entry = replace(entry, state=DocumentState.PREDICTED)
            # The order of documents must not change if the batch is resumed.
            return replace(entry, expected_errors=first.expected_errors)

        self._run_chunks(items, engine, find_chosen, make_entry, on_progress)

    def _run_chunks(
        self,
        items: Iterable[SourceItem],
        engine: Engine,
        select: Callable[[Sequence[SourceItem]], list[SourceItem]],
        make_entry: Callable[[SourceItem, PredictionOutcome], JournalEntry],
        report: BatchProgressCallback,
    ) -> None:
        began = since = time.monotonic()
        progress = BatchProgress(0, 0, 0, 0, Counter(), 0.0)
        waiting: deque[tuple[list[SourceItem], list[SourceItem]]] = deque()
        self._in_flight_positions.clear()
        self._read_position = self._predicted_position = -1

        def chunks() -> Iterator[list[Document]]:
            remaining = iter(items)
            while chunk := list(islice(remaining, CHUNK_DOCUMENTS)):
                selected = select(chunk)
                self._in_flight_positions.update((item.key, item.position) for item in selected)
                waiting.append((chunk, selected))
                yield [item.document for item in selected if item.document is not None]

        for predictions in engine(chunks()):
            chunk, selected = waiting.popleft()
            following = iter(predictions)
            outcomes = [  # the engine did not get items that could not be read
                PredictionFailure(item.read_error) if item.document is None else next(following)
                for item in selected
            ]
            self._check_consecutive_failures(outcomes)
            entries = [
                make_entry(item, outcome) for item, outcome in zip(selected, outcomes, strict=True)
            ]
            self._journal.write_entries(entries, seconds=time.monotonic() - since)
            for item in selected:
                del self._in_flight_positions[item.key]
            self._predicted_position = max(self._predicted_position, chunk[-1].position)
            self._sink.deliver(self._journal, self._predicted_position)
            since = time.monotonic()
            progress = progress.add_chunk(chunk, entries, since - began)
            report(progress)
        self._sink.on_source_end(self._journal, self._read_position)

    def _find_unpredicted(self, chunk: Sequence[SourceItem]) -> list[SourceItem]:
        # Items without a prediction of their present text, or whose prediction was deleted.
        entries = self._journal.read_entries_by_key([item.key for item in chunk])
        self._check_positions(chunk, entries)
        fresh, predicted_elsewhere = [], []
        for item in chunk:
            entry = entries.get(item.key)
            is_ours = entry is not None and entry.send_count and item.document is not None
            if item.is_predicted and not is_ours:
                # A waiting prediction would become the document's second one.
                predicted_elsewhere += [entry] if entry else []
            elif (
                entry is None
                or entry.digest != _compute_item_digest(item)
                # Delivered by an earlier run and deleted since: this run delivers only after
                # reading.
                or (entry.state is DocumentState.DELIVERED and not item.is_predicted)
            ):
                fresh.append(item)
        self._journal.set_state(predicted_elsewhere, DocumentState.DELIVERED)
        self._mark_read(chunk)
        return fresh

    def _check_positions(
        self, chunk: Sequence[SourceItem], entries: Mapping[str, JournalEntry]
    ) -> None:
        positions = {key: entry.position for key, entry in entries.items()}
        keys = {item.position: item.key for item in chunk}
        for item in chunk:
            # An engine may ask for chunks in its own thread, ahead of its results.
            position = positions.setdefault(
                item.key, self._in_flight_positions.get(item.key, item.position)
            )
            # A duplicate has the same id at an earlier position of this chunk, or before it, where
            # this run has checked all positions. Another id there means that the source changed.
            if position < item.position and keys.get(position, item.key) == item.key:
                raise BatchError(
                    f"documents {position + 1:,} and {item.position + 1:,} of the source have the "
                    f"same id {item.key!r}: give each its own",
                    code="batch-duplicate-id",
                )
            if position != item.position:
                raise BatchError(
                    f"the source has changed since the batch began, its document {item.key!r} was "
                    f"elsewhere: move {self._journal.path} away to begin again, or restore the "
                    "source",
                    code="batch-source-changed",
                )

    def _mark_read(self, chunk: Sequence[SourceItem]) -> None:
        # Documents between those of the chunk are gone, and their predictions with them.
        until = chunk[-1].position
        self._journal.delete_absent(
            self._read_position, until, present_positions=[item.position for item in chunk]
        )
        self._read_position = until

    def _check_consecutive_failures(self, outcomes: Sequence[PredictionOutcome]) -> None:
        # Many failures in a row are a fault of the model or machine, which the next run may not
        # have.
        for outcome in outcomes:
            if not isinstance(outcome, PredictionFailure):
                self._consecutive_failures = 0
                continue
            self._consecutive_failures += 1
            if self._consecutive_failures >= MAX_CONSECUTIVE_FAILURES:
                raise BatchError(
                    f"none of {self._consecutive_failures} documents in a row could be predicted; "
                    f"the last failed because {outcome.reason}",
                    code="batch-nothing-predicted",
                )

    def _make_entry(self, item: SourceItem, outcome: PredictionOutcome) -> JournalEntry:
        entry = JournalEntry(
            position=item.position,
            key=item.key,
            digest=_compute_item_digest(item),
            state=DocumentState.FAILED,
            version="",
            entities=0,
            payload=outcome.reason if isinstance(outcome, PredictionFailure) else item.read_error,
        )
        if item.document is None or isinstance(outcome, PredictionFailure):
            return entry
        return replace(
            entry,
            state=DocumentState.PREDICTED,
            version=outcome.version,
            entities=len(outcome.spans),
            payload=self._sink.serialize(item.document, outcome),
            expected_errors=compute_expected_errors(outcome),
        )


def _compute_item_digest(item: SourceItem) -> bytes:
    return compute_text_digest(item.read_error if item.document is None else item.document.text)


def compute_expected_errors(prediction: Prediction) -> float:
    """Estimate how many words have a wrong tag, if confidences are calibrated."""
    if prediction.tag_confidences:
        return sum(1 - confidence for confidence in prediction.tag_confidences)
    return 1 - prediction.score
