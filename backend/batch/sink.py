"""The interface between a batch and the place where its predictions go."""

from abc import ABC, abstractmethod

from tagalong.backend.batch.journal import BatchState
from tagalong.ner.document import Document, Prediction


class PredictionSink(ABC):
    """Stores the predictions of a batch.

    `serialize` and `finish` are enough for a sink that writes everything at the end. A sink that
    sends predictions while the batch runs also overrides `recover` and `deliver`.
    """

    @abstractmethod
    def serialize(self, document: Document, prediction: Prediction) -> str:
        """The prediction as the journal keeps it until it is delivered."""

    @abstractmethod
    def finish(self, journal: BatchState) -> None:
        """Deliver every prediction that waits in the journal."""

    def recover(self, journal: BatchState, *, is_reset: bool) -> None:  # noqa: B027
        """Find out which predictions arrived that an earlier run was sending when it ended.

        Args:
            journal: The batch's journal.
            is_reset: Whether the journal's entries are about to be deleted.
        """

    def deliver(self, journal: BatchState, until_position: int) -> None:  # noqa: B027
        """Deliver waiting predictions up to a position of the source, or leave them for later."""

    def on_source_end(self, journal: BatchState, last_position: int) -> None:
        """Delete waiting predictions after the source's last position: their documents are gone."""
        journal.delete_absent(last_position)
