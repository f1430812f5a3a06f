"""What strategies choose from and what they answer; every text once, in an order drawn by lot.

The order is a hash of seed and text. So it is the same whatever order the documents came in, and
ties in it are broken by lot instead of by the alphabet.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tagalong.ner.document import Document, Prediction
from tagalong.ner.words import WORD_PATTERN
from tagalong.training.corpus.hash_split import normalize_text
from tagalong.training.curate.selection import SelectionReason
from tagalong.training.curate.tag_distributions import TagDistribution

Float64Array = NDArray[np.float64]
StrategyInputName = Literal[
    "other_predictions",  # what a second system says
    "document_vectors",  # where documents lie, from an encoder
    "tag_distributions",  # the probability of every tag, from an encoder
]
SHUFFLE_HASH_PERSON = b"tagalong.next"  # independent of the hashes that split and hold out


@dataclass(frozen=True, slots=True)
class Pool:
    """Documents to choose from, and what is known of them; what a strategy does not need is empty.

    Attributes:
        documents: No text twice, in the order of their lots.
        predictions: What the current model says of each.
        other_predictions: What a second system says of each.
        document_vectors: Where each lies, of unit length: (documents, width).
        labeled_vectors: Where those lie that are annotated already: (annotated, width).
        tag_distributions: The probability of every tag of each.
        seed: For what is random in a strategy.
    """

    documents: Sequence[Document]
    predictions: Sequence[Prediction]
    other_predictions: Sequence[Prediction] = ()
    document_vectors: Float64Array = field(default_factory=lambda: np.zeros((0, 0)))
    labeled_vectors: Float64Array = field(default_factory=lambda: np.zeros((0, 0)))
    tag_distributions: Sequence[TagDistribution] = ()
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Pick:
    """A document that a strategy takes.

    Attributes:
        index: Of the document in the pool.
        reason: Why.
        score: What it was taken by; None for lots.
    """

    index: int
    reason: SelectionReason
    score: float | None = None


@dataclass(frozen=True, slots=True)
class SelectionStrategy:
    """A way to choose.

    Attributes:
        pick: Takes as many documents of a pool as it is told, or all of them, best first.
        required_inputs: What it looks at beside the predictions.
    """

    pick: Callable[[Pool, int], list[Pick]]
    required_inputs: frozenset[StrategyInputName] = frozenset()


@dataclass(frozen=True, slots=True)
class DeduplicatedPool:
    """The documents that are worth choosing from.

    Attributes:
        documents: No text twice, in the order of their lots.
        already_annotated: How many are left out because their text is annotated already.
        repeated_texts: How many because another one has the same text.
        without_words: How many because there is no word in them.
    """

    documents: tuple[Document, ...]
    already_annotated: int = 0
    repeated_texts: int = 0
    without_words: int = 0


def deduplicate_pool(
    documents: Sequence[Document], labeled: Sequence[Document] = (), *, seed: int = 0
) -> DeduplicatedPool:
    """Leave out what need not be annotated, and draw lots.

    Args:
        documents: In any order.
        labeled: What is annotated already.
        seed: Of the lots.

    Returns:
        The documents. Texts are the same as a split sees them, white space and case aside; of
        those the one with the lowest id stays.
    """
    done = {normalize_text(document.text) for document in labeled}
    kept: dict[str, Document] = {}
    annotated = wordless = 0
    for document in sorted(documents, key=lambda document: (document.id, document.text)):
        key = normalize_text(document.text)
        if key in done:
            annotated += 1
        elif not WORD_PATTERN.search(key):
            wordless += 1
        else:
            kept.setdefault(key, document)
    return DeduplicatedPool(
        tuple(kept[key] for key in sorted(kept, key=lambda key: _shuffle_key(key, seed))),
        already_annotated=annotated,
        repeated_texts=len(documents) - annotated - wordless - len(kept),
        without_words=wordless,
    )


def _shuffle_key(key: str, seed: int) -> bytes:
    """What documents are drawn by."""
    return blake2b(
        key.encode(), key=str(seed).encode(), person=SHUFFLE_HASH_PERSON, digest_size=16
    ).digest()


def pick_highest(scores: Sequence[float], count: int, reason: SelectionReason) -> list[Pick]:
    """Take the documents with the highest scores.

    Args:
        scores: Of each document of a pool.
        count: How many to take.
        reason: Why they are taken.

    Returns:
        The picks, the highest first, equal ones in the order of the pool.
    """
    order = sorted(range(len(scores)), key=lambda place: -scores[place])
    return [Pick(place, reason, scores[place]) for place in order[:count]]
