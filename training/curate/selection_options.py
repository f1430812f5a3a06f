"""Settings and results of document selection."""

from dataclasses import dataclass
from typing import Any, Literal

from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.results import place_texts
from tagalong.ner.document import Document
from tagalong.ner.errors import InputError

# A new strategy needs its name here, and an entry in `strategies.STRATEGIES`.
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
DEFAULT_STRATEGY: StrategyName = "mixed"
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

    Scores measured on documents that a model is uncertain about look worse than they are. So a
    share from 0 to 1 is selected at random.
    """

    strategy: StrategyName = DEFAULT_STRATEGY
    count: int = 50  # maximum number of documents
    random_share: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise InputError for a number out of range."""
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
        return int(self.random_share * count + 0.5)  # `round` would round half to even


@dataclass(frozen=True, slots=True)
class SelectedDocument:
    """A document to annotate."""

    document: Document
    reason: SelectionReason
    score: float | None = None  # of the strategy, higher first; None for random documents

    def to_json(self, rank: int) -> dict[str, Any]:
        """Convert to JSON types: rank (from 1), reason, score and document."""
        return {
            "id": self.document.id,
            "rank": rank,
            "reason": self.reason,
            "score": self.score,
            "text": self.document.text,
        }

    def to_task(self, rank: int, config: LabelConfig) -> dict[str, Any]:
        """Convert to an unannotated task, with the text where the labelling config expects it."""
        data = self.to_json(rank)  # with the id: Label Studio's import assigns its own task ids
        del data["text"]
        texts = place_texts(self.document, config)
        return {"id": self.document.id, "data": {**data, **texts}}
