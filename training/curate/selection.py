"""How to choose what is annotated next, and what was chosen: standard library alone."""

from dataclasses import dataclass
from typing import Any, Literal

from tagalong.ner.document import Document
from tagalong.ner.errors import InputError

# A new strategy is one new file, its name here, and one line in `STRATEGIES`.
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
    "uncertain",  # the model is unsure of its words
    "the two disagree",  # two systems find different entities
    "typical of many",  # it stands for a group that is like it
    "unlike the rest",  # nothing annotated or chosen is like it
    "long entity",  # an entity of three words or more that the model is unsure of
    "random",  # drawn by lot, for an honest evaluation
]


@dataclass(frozen=True, slots=True)
class SelectionOptions:
    """How to choose.

    Attributes:
        strategy: Which documents come first.
        count: How many to choose, at most.
        random_share: Of those, how many are drawn by lot, from 0 to 1. What is chosen because a
            model is unsure of it makes that model look worse than it is; these do not.
        seed: Of the lots.
    """

    strategy: StrategyName = "mixed"
    count: int = 50
    random_share: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers once.

        Raises:
            InputError: If there is nothing to choose, or the share is none.
        """
        if self.count < 1:
            raise InputError(f"{self.count} documents cannot be chosen: ask for one or more")
        if not 0 <= self.random_share <= 1:
            raise InputError(
                f"a share of {self.random_share:g} cannot be drawn by lot: it goes from 0 to 1"
            )

    def count_random(self, count: int) -> int:
        """How many of some documents are drawn by lot: the share, rounded half up.

        Args:
            count: How many there are.

        Returns:
            Never more for fewer, and one more at most for one more.
        """
        return int(self.random_share * count + 0.5)


@dataclass(frozen=True, slots=True)
class SelectedDocument:
    """A document to annotate.

    Attributes:
        document: As it stands in the pool.
        reason: Why it was chosen.
        score: What it was chosen by, higher first; what it measures depends on the strategy. None
            for lots.
    """

    document: Document
    reason: SelectionReason
    score: float | None = None

    def to_json(self, rank: int) -> dict[str, Any]:
        """As the object of a line.

        Args:
            rank: Its place in the order, from 1.

        Returns:
            The order, the reason and the document.
        """
        return {
            "id": self.document.id,
            "rank": rank,
            "reason": self.reason,
            "score": self.score,
            "text": self.document.text,
        }

    def to_task(self, rank: int, data_key: str) -> dict[str, Any]:
        """As a task for Label Studio's import, not annotated.

        Args:
            rank: Its place in the order, from 1.
            data_key: Where the labelling config expects the text.

        Returns:
            The task. Label Studio gives it an id of its own, so ours goes into the data too.
        """
        data = self.to_json(rank)
        return {"id": self.document.id, "data": {**data, data_key: data.pop("text")}}
