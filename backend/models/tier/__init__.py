"""What every tier can do, whatever model is behind it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from tagalong.backend.models.tier.decoding_stats import DecodingStats
from tagalong.ner.document import Document, Prediction


class Tier(ABC):
    """Finds entities in documents.

    A subclass needs `predict`. The server runs `encode` and `decode` on the thread of a request and
    `run` on a thread of the tier; a subclass overrides all three or none.

    Attributes:
        version: The model version, named in every prediction.
        labels: Entity types it can find, in the order of the label config.
        decoding_stats: What decoding has taken so far; None where it is not counted.
    """

    version: str
    labels: tuple[str, ...]
    decoding_stats: DecodingStats | None = None

    @abstractmethod
    def predict(self, documents: Sequence[Document]) -> list[Prediction]:
        """One prediction per document, in the same order, empty ones included."""

    def encode(self, documents: Sequence[Document]) -> Sequence[Any]:
        """Prepare each document for `run`."""
        return documents

    def run(self, encoded: Sequence[Any]) -> list[Any]:
        """Run the model on encoded documents, which may be of several requests."""
        return self.predict(encoded)

    def decode(self, encoded: Any, output: Any) -> Prediction:  # noqa: ARG002 (for subclasses)
        """Make the prediction of one document from what `run` returned for it."""
        prediction: Prediction = output
        return prediction

    @property
    def streams(self) -> int:
        """How many calls of `run` may be in progress at the same time."""
        return 1

    @property
    def documents_per_request_chunk(self) -> int:
        """Documents of one request that are queued together."""
        return 16

    @property
    def runtime_name(self) -> str:
        """The library and the arithmetic that run the model, as people read them."""
        return "PyTorch"

    @property
    def can_use_openvino(self) -> bool:
        """Whether PyTorch runs the model on a CPU, where OpenVINO would be faster."""
        return False

    def estimate_seconds(
        self,
        documents: Sequence[Document],  # noqa: ARG002 (for subclasses)
    ) -> list[float]:
        """Seconds that each document will take; empty where nothing is known."""
        return []

    def warm_up(self) -> None:  # noqa: B027 (most tiers need none)
        """Prepare for the first request, where that takes a while."""
