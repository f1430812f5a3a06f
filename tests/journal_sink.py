"""A source of documents, and a sink that keeps all predictions in the journal."""

from collections.abc import Iterable, Iterator

from tagalong.backend.batch.journal import BatchJournal
from tagalong.backend.batch.source_and_sink import PredictionSink
from tagalong.backend.documents.source_item import SourceItem
from tagalong.ner.document import Document, Prediction


def make_items(documents: Iterable[Document]) -> Iterator[SourceItem]:
    """Yield documents as numbered source items."""
    for position, document in enumerate(documents):
        yield SourceItem(position, document.id, document)


class JournalSink(PredictionSink):
    """Keeps all predictions in the journal, as a file sink does."""

    def serialize(self, document: Document, prediction: Prediction) -> str:
        return f"{document.id} {[span.label for span in prediction.spans]}"

    def on_source_end(self, journal: BatchJournal, last_position: int) -> None:
        pass

    def finish(self, journal: BatchJournal) -> None:
        pass
