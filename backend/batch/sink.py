"""What a batch asks of the place where its predictions go."""

from typing import Protocol

from tagalong.backend.batch.journal import BatchJournal
from tagalong.ner.document import Document, Prediction


class PredictionSink(Protocol):
    """Where predictions go."""

    def serialize(self, document: Document, prediction: Prediction) -> str:
        """A prediction as it will be handed over."""

    def recover(self, journal: BatchJournal) -> None:
        """Find out what has become of what was on its way when the batch ended."""

    def deliver(self, journal: BatchJournal, until_position: int) -> None:
        """Hand over what waits in the journal up to a place, or leave it there for a while."""

    def on_source_end(self, journal: BatchJournal, last_position: int) -> None:
        """Deal with what the journal has behind the last place of the source."""

    def finish(self, journal: BatchJournal) -> None:
        """Hand over everything that waits."""

    def remove_duplicates(self, journal: BatchJournal) -> None:
        """See to it that nothing of what was handed over is there twice."""
