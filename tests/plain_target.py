"""A target of batches that keeps everything in the journal, as a file's does."""

from tagalong.backend.batch.journal import BatchJournal
from tagalong.ner.document import Document, Prediction


class Plain:
    """Keeps everything in the journal, as a file's target does."""

    def serialize(self, document: Document, prediction: Prediction) -> str:
        return f"{document.id} {[span.label for span in prediction.spans]}"

    def recover(self, journal: BatchJournal) -> None:
        pass

    def deliver(self, journal: BatchJournal, place: int) -> None:
        pass

    remove_duplicates = finish = recover
    on_source_end = deliver
