"""The protocols of tiers: `Tier`, and what a tier may support beyond it."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from tagalong.backend.models.llm.decoding_stats import DecodingStats
from tagalong.ner.document import Document, Prediction


class Tier(Protocol):
    """Anything that finds entities in documents."""

    @property
    def version(self) -> str:
        """The model version, named in every prediction."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Entity types it can find, in the order of the label config."""

    def predict(self, documents: Sequence[Document]) -> list[Prediction]:
        """One prediction per document, in the same order, empty ones included."""


@runtime_checkable
class HasRuntime(Protocol):
    """A tier that knows what runs its model."""

    @property
    def runtime_name(self) -> str:
        """The library and the arithmetic, as people read them."""

    @property
    def can_use_openvino(self) -> bool:
        """Whether PyTorch runs the model on a CPU, where OpenVINO would be faster."""


@runtime_checkable
class SupportsPipelining(Protocol):
    """A tier whose steps around the forward pass run on other threads than the pass.

    The server then encodes and decodes a request on the thread of the request, beside the forward
    passes of others.
    """

    @property
    def streams(self) -> int:
        """Batches that the model runs at the same time."""

    @property
    def documents_per_request_chunk(self) -> int:
        """Documents of one request that are queued together."""

    def encode(self, documents: Sequence[Document]) -> Sequence[Any]:
        """Documents as the model reads them."""

    def compute_logits(self, documents: Sequence[Any]) -> list[Any]:
        """The forward pass: scores of each encoded document."""

    def decode(self, document: Any, logits: Any) -> Prediction:
        """The prediction that the scores of a document give."""


@runtime_checkable
class SupportsTimeEstimate(Protocol):
    """A slow tier that estimates its time beforehand."""

    def estimate_seconds(self, documents: Sequence[Document]) -> list[float]:
        """Seconds that each document will take."""


@runtime_checkable
class SupportsDecodingStats(Protocol):
    """A tier that counts its decoding, and knows its throughput once it is warm."""

    decoding_stats: DecodingStats

    def warm_up(self) -> None:
        """Predict something, to measure the throughput."""
