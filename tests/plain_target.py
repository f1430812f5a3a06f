"""A sink that keeps everything in the journal, as a file's does."""

from tagalong.backend.batch.journal import BatchState
from tagalong.backend.batch.sink import PredictionSink
from tagalong.ner.document import Document, Prediction


class Plain(PredictionSink):
    """Keeps everything in the journal, as a file's sink does."""

    def serialize(self, document: Document, prediction: Prediction) -> str:
        return f"{document.id} {[span.label for span in prediction.spans]}"

    def on_source_end(self, journal: BatchState, last_position: int) -> None:
        pass

    def finish(self, journal: BatchState) -> None:
        pass
