"""The interface of taggers: loaded versions of any tier."""

import operator
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any

from tagalong.ner.document import Document, Prediction


@dataclass(frozen=True, slots=True)
class DecodingStats:
    """Counts of the work that decoding takes, which add up over documents."""

    documents: int = 0
    passes: int = 0  # model calls in sequence, summed over windows
    slots: int = 0  # words tagged
    tokens: int = 0  # run through the model, without padding and the shared prefix
    accepted: int = 0  # slots whose drafted tag was right

    def __add__(self, other: "DecodingStats") -> "DecodingStats":
        return DecodingStats(*map(operator.add, astuple(self), astuple(other)))

    def __sub__(self, other: "DecodingStats") -> "DecodingStats":
        return DecodingStats(*map(operator.sub, astuple(self), astuple(other)))

    def to_json(self) -> dict[str, int]:
        """The counts under the names that reports and Prometheus series have always used."""
        counts = asdict(self)
        counts["agreed"] = counts.pop("accepted")
        return counts


class DocumentTagger(ABC):
    """Finds entities in documents.

    A subclass needs `predict`, and overrides all or none of `encode`, `run` and `decode`. The
    server calls `run` on a thread of the tagger, and the other two on the thread of a request.
    """

    version: str  # named in every prediction
    labels: tuple[str, ...]  # that it can find, in the order of the labelling config
    streams: int = 1  # calls of `run` that may be in progress at the same time
    documents_per_request_chunk: int = 16  # documents of one request that are queued together
    runtime_name: str = "PyTorch"  # the library and the arithmetic, as people read them
    can_use_openvino: bool = False  # whether PyTorch runs it on a CPU, where OpenVINO is faster
    decoding_stats: DecodingStats | None = None  # of all its work; None where it is not counted

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

    def estimate_seconds(self, documents: Sequence[Document]) -> list[float]:  # noqa: ARG002
        """Seconds that each document will take; empty where nothing is known."""
        return []

    def config_to_json(self) -> Mapping[str, Any]:
        """Settings that the manifest keeps beside the recipe."""
        return {}

    def calibration_to_json(self) -> Mapping[str, Any]:
        """Values fitted on dev, for the manifest."""
        return {}

    def warm_up(self) -> None:  # noqa: B027 (most taggers need none)
        """Prepare for the first request; called once, after loading."""
