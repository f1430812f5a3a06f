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

from ner.document import Document, Prediction
from ner.words import WORD
from training.corpus.split import text_key
from training.curate.choices import Reason
from training.curate.opinions import Opinion

Floats = NDArray[np.float64]
Need = Literal[
    "against",  # what a second system says
    "vectors",  # where documents lie, from an encoder
    "opinions",  # the probability of every tag, from an encoder
]
LOT = b"tagalong.next"  # independent of the hashes that split and hold out


@dataclass(frozen=True, slots=True)
class Pool:
    """Documents to choose from, and what is known of them; what a strategy does not need is empty.

    Attributes:
        documents: No text twice, in the order of their lots.
        predictions: What the current model says of each.
        against: What a second system says of each.
        vectors: Where each lies, of unit length: (documents, width).
        known: Where those lie that are annotated already: (annotated, width).
        opinions: The probability of every tag of each.
        seed: For what is random in a strategy.
    """

    documents: Sequence[Document]
    predictions: Sequence[Prediction]
    against: Sequence[Prediction] = ()
    vectors: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    known: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    opinions: Sequence[Opinion] = ()
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Pick:
    """A document that a strategy takes.

    Attributes:
        place: Of the document in the pool.
        reason: Why.
        score: What it was taken by; None for lots.
    """

    place: int
    reason: Reason
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Strategy:
    """A way to choose.

    Attributes:
        pick: Takes as many documents of a pool as it is told, or all of them, best first.
        needs: What it looks at beside the predictions.
    """

    pick: Callable[[Pool, int], list[Pick]]
    needs: frozenset[Need] = frozenset()


@dataclass(frozen=True, slots=True)
class Sifted:
    """The documents that are worth choosing from.

    Attributes:
        documents: No text twice, in the order of their lots.
        annotated: How many are left out because their text is annotated already.
        repeated: How many because another one has the same text.
        wordless: How many because there is no word in them.
    """

    documents: tuple[Document, ...]
    annotated: int = 0
    repeated: int = 0
    wordless: int = 0


def sift(
    documents: Sequence[Document], labelled: Sequence[Document] = (), *, seed: int = 0
) -> Sifted:
    """Leave out what need not be annotated, and draw lots.

    Args:
        documents: In any order.
        labelled: What is annotated already.
        seed: Of the lots.

    Returns:
        The documents. Texts are the same as a split sees them, white space and case aside; of
        those the one with the lowest id stays.
    """
    done = {text_key(document.text) for document in labelled}
    kept: dict[str, Document] = {}
    annotated = wordless = 0
    for document in sorted(documents, key=lambda document: (document.id, document.text)):
        key = text_key(document.text)
        if key in done:
            annotated += 1
        elif not WORD.search(key):
            wordless += 1
        else:
            kept.setdefault(key, document)
    return Sifted(
        tuple(kept[key] for key in sorted(kept, key=lambda key: _lot(key, seed))),
        annotated=annotated,
        repeated=len(documents) - annotated - wordless - len(kept),
        wordless=wordless,
    )


def _lot(key: str, seed: int) -> bytes:
    """What documents are drawn by."""
    return blake2b(key.encode(), key=str(seed).encode(), person=LOT, digest_size=16).digest()


def highest(scores: Sequence[float], count: int, reason: Reason) -> list[Pick]:
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
