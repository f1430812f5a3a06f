"""The pool that strategies select from: each text once, in random order.

The order is a hash of seed and text. So it does not depend on the input order, and ties are broken
at random instead of alphabetically.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal

import numpy as np

from tagalong.ner.document import Document, Prediction
from tagalong.ner.words import WORD_PATTERN
from tagalong.training.corpus.hash_split import normalize_text
from tagalong.training.curate.selection import SelectionReason
from tagalong.training.curate.tag_distributions import TagDistribution
from tagalong.training.evaluation.bootstrap import Float64Array

StrategyInputName = Literal[
    "other_predictions",  # predictions of a second model
    "document_vectors",  # from an encoder
    "tag_distributions",  # from an encoder
]
SHUFFLE_HASH_PERSON = b"tagalong.next"  # independent of the hashes of splits and folds


@dataclass(frozen=True, slots=True)
class Pool:
    """Documents to select from, with the inputs of the strategy; unused inputs are empty.

    Attributes:
        documents: Different texts in random order.
        predictions: Predictions of the current model.
        other_predictions: Predictions of a second model.
        document_vectors: Unit vectors, shape (documents, width).
        labeled_vectors: Unit vectors of the annotated documents, shape (annotated, width).
        tag_distributions: Tag probabilities of each document.
        seed: Seed for random strategies.
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
    """A document selected by a strategy.

    Attributes:
        index: Position in the pool.
        score: Selection score; None for random documents.
    """

    index: int
    reason: SelectionReason
    score: float | None = None


@dataclass(frozen=True, slots=True)
class SelectionStrategy:
    """A selection strategy.

    Attributes:
        pick: Selects up to a number of documents from a pool, best first.
        required_inputs: Inputs beside the predictions.
    """

    pick: Callable[[Pool, int], list[Pick]]
    required_inputs: frozenset[StrategyInputName] = frozenset()


@dataclass(frozen=True, slots=True)
class DeduplicatedPool:
    """Candidates for annotation, and the number of excluded documents by reason.

    Attributes:
        documents: Different texts in random order.
        repeated_texts: Number of documents with the text of another one.
    """

    documents: tuple[Document, ...]
    already_annotated: int = 0
    repeated_texts: int = 0
    without_words: int = 0


def deduplicate_pool(
    documents: Sequence[Document], labeled: Sequence[Document] = (), *, seed: int = 0
) -> DeduplicatedPool:
    """Exclude annotated, repeated and wordless documents, and shuffle the others.

    Texts are compared as in a split, ignoring white space and case. Of equal texts, the document
    with the lowest id stays.

    Args:
        documents: Documents in any order.
        labeled: Documents that are annotated already.
        seed: Seed of the order.

    Returns:
        The candidates.
    """
    annotated_keys = {normalize_text(document.text) for document in labeled}
    kept: dict[str, Document] = {}
    annotated = wordless = 0
    for document in sorted(documents, key=lambda document: (document.id, document.text)):
        key = normalize_text(document.text)
        if key in annotated_keys:
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
    return blake2b(
        key.encode(), key=str(seed).encode(), person=SHUFFLE_HASH_PERSON, digest_size=16
    ).digest()


def pick_highest(scores: Sequence[float], count: int, reason: SelectionReason) -> list[Pick]:
    """Select the documents with the highest scores; ties keep the order of the pool."""
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    return [Pick(index, reason, scores[index]) for index in order[:count]]
