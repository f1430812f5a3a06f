"""What every tier can do, whatever model is behind it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any

from tagalong.ner.document import Document, Prediction


@dataclass(frozen=True, slots=True)
class DecodingStats:
    """Counts that add up over documents.

    Attributes:
        documents: Documents decoded.
        passes: Model calls in sequence, summed over windows.
        slots: Words tagged.
        tokens: Tokens run through the model, without padding and the shared prefix.
        accepted: Slots whose drafted tag was right.
    """

    documents: int = 0
    passes: int = 0
    slots: int = 0
    tokens: int = 0
    accepted: int = 0

    def __add__(self, other: "DecodingStats") -> "DecodingStats":
        """The counts of both."""
        pairs = zip(astuple(self), astuple(other), strict=True)
        return DecodingStats(*(ours + theirs for ours, theirs in pairs))

    def __sub__(self, other: "DecodingStats") -> "DecodingStats":
        """The counts since an earlier state."""
        pairs = zip(astuple(self), astuple(other), strict=True)
        return DecodingStats(*(ours - theirs for ours, theirs in pairs))

    def to_json(self) -> dict[str, int]:
        """The counts under the names that reports and Prometheus series have always used."""
        counts = asdict(self)
        counts["agreed"] = counts.pop("accepted")
        return counts


class Tier(ABC):
    """Finds entities in documents.

    A subclass needs `predict`. The server runs `encode` and `decode` on the thread of a request and
    `run` on a thread of the tier; a subclass overrides all three or none.

    Attributes:
        version: The model version, named in every prediction.
        labels: Entity types it can find, in the order of the label config.
        decoding_stats: What decoding has taken so far; None where it is not counted.
        streams: How many calls of `run` may be in progress at the same time.
        documents_per_request_chunk: Documents of one request that are queued together.
        runtime_name: The library and the arithmetic that run the model, as people read them.
        can_use_openvino: Whether PyTorch runs it on a CPU, where OpenVINO would be faster.
    """

    version: str
    labels: tuple[str, ...]
    streams: int = 1
    documents_per_request_chunk: int = 16
    runtime_name: str = "PyTorch"
    can_use_openvino: bool = False
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

    def estimate_seconds(
        self,
        documents: Sequence[Document],  # noqa: ARG002 (for subclasses)
    ) -> list[float]:
        """Seconds that each document will take; empty where nothing is known."""
        return []

    def config_to_json(self) -> Mapping[str, Any]:
        """Settings that the manifest keeps beside the recipe."""
        return {}

    def calibration_to_json(self) -> Mapping[str, Any]:
        """Values fitted on dev, for the manifest."""
        return {}

    def warm_up(self) -> None:  # noqa: B027 (most tiers need none)
        """Prepare for the first request, where that takes a while."""
