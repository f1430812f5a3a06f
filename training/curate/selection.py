"""Settings and results of document selection; this module imports only the standard library."""

from dataclasses import dataclass
from typing import Any, Literal

from tagalong.ner.document import Document
from tagalong.ner.errors import InputError

# A new strategy needs a module, its name here, and an entry in `strategies.STRATEGIES`.
StrategyName = Literal[
    "mixed",
    "uncertainty",
    "margin",
    "least-confidence",
    "disagreement",
    "k-means",
    "k-center",
    "long",
    "random",
]
SelectionReason = Literal[
    "uncertain",  # low confidence in its tags
    "the two disagree",  # two models find different entities
    "typical of many",  # representative of a cluster
    "unlike the rest",  # far from all annotated and selected documents
    "long entity",  # an uncertain entity of three words or more
    "random",  # for unbiased evaluation
]


@dataclass(frozen=True, slots=True)
class SelectionOptions:
    """Settings of a selection.

    Attributes:
        count: Maximum number of documents.
        random_share: Share selected at random, from 0 to 1. Documents that a model is uncertain
            about make its scores look worse than they are; random ones do not.
    """

    strategy: StrategyName = "mixed"
    count: int = 50
    random_share: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        """Validate the numbers.

        Raises:
            InputError: If a number is out of range.
        """
        if self.count < 1:
            raise InputError(
                f"{self.count} is no valid number of documents: select 1 or more",
                code="selection-count-out-of-range",
            )
        if not 0 <= self.random_share <= 1:
            raise InputError(
                f"{self.random_share:g} is no valid random share: give one from 0 to 1",
                code="random-share-out-of-range",
            )

    def count_random(self, count: int) -> int:
        """Number of random documents among the first `count`: the share, rounded half up."""
        return int(self.random_share * count + 0.5)


@dataclass(frozen=True, slots=True)
class SelectedDocument:
    """A document to annotate.

    Attributes:
        score: Selection score of the strategy, higher first; None for random documents.
    """

    document: Document
    reason: SelectionReason
    score: float | None = None

    def to_json(self, rank: int) -> dict[str, Any]:
        """Convert to JSON types: rank (from 1), reason, score and document."""
        return {
            "id": self.document.id,
            "rank": rank,
            "reason": self.reason,
            "score": self.score,
            "text": self.document.text,
        }

    def to_task(self, rank: int, data_key: str) -> dict[str, Any]:
        """Convert to an unannotated task for Label Studio's import.

        Label Studio assigns its own task ids, so the document id is also part of the data.

        Args:
            rank: Position in the selection, from 1.
            data_key: Data key of the text in the labeling config.

        Returns:
            The task.
        """
        data = self.to_json(rank)
        return {"id": self.document.id, "data": {**data, data_key: data.pop("text")}}
