"""The pool that strategies select from: each text once, in random order.

The order is a hash of seed and text. So it does not depend on the input order, and ties are broken
at random instead of alphabetically.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from tagalong.ner.document import Document, Prediction
from tagalong.ner.words import word_offsets
from tagalong.training.corpus.hash_split import normalize_text
from tagalong.training.curate.encoder_outputs import TagDistribution
from tagalong.training.curate.selection_options import SelectedDocument, SelectionReason
from tagalong.training.evaluation.bootstrap import Float64Array

SHUFFLE_HASH_PERSON = b"tagalong.next"  # independent of the hashes of splits and folds


@dataclass(frozen=True, slots=True)
class Pool:
    """Documents to select from, and what strategies know about them."""

    documents: Sequence[Document]  # different texts in random order
    predictions: Sequence[Prediction]  # of the current model
    other_predictions: Sequence[Prediction] = ()  # of a second model, for the one that compares
    labeled: Sequence[Document] = ()  # annotated already
    # Functions, because only some strategies need an encoder's values, and each costs a pass of it.
    # Vectors are of unit length, shape (documents, width).
    embed: Callable[[Sequence[Document]], Float64Array] = lambda texts: np.zeros((len(texts), 0))
    tag_distributions: Callable[[Sequence[Document]], Sequence[TagDistribution]] = lambda _: ()
    seed: int = 0  # of random strategies


def pick_highest(
    pool: Pool, scores: Sequence[float], count: int, reason: SelectionReason
) -> list[SelectedDocument]:
    """Select the documents with the highest scores; ties keep the order of the pool."""
    ranked = sorted(zip(pool.documents, scores, strict=True), key=lambda pair: -pair[1])
    return [SelectedDocument(document, reason, score) for document, score in ranked[:count]]


@dataclass(frozen=True, slots=True)
class DeduplicatedPool:
    """Candidates for annotation, and the number of excluded documents by reason."""

    documents: tuple[Document, ...]  # different texts in random order
    already_annotated: int
    repeated_texts: int  # documents with the text of another one
    without_words: int


def deduplicate_pool(
    documents: Sequence[Document], labeled: Sequence[Document] = (), *, seed: int = 0
) -> DeduplicatedPool:
    """Exclude annotated, repeated and wordless documents, and shuffle the others by `seed`.

    Texts are compared as in a split, ignoring white space and case. Of equal texts, the document
    with the lowest id stays.
    """
    annotated_keys = {normalize_text(document.text) for document in labeled}
    kept: dict[str, Document] = {}
    annotated = wordless = 0
    for document in sorted(documents, key=lambda document: (document.id, document.text)):
        key = normalize_text(document.text)
        if key in annotated_keys:
            annotated += 1
        elif not word_offsets(key):
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
