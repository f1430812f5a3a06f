"""Documents -> folds for cross-validation: by content, and as even as they can be."""

from collections.abc import Sequence
from hashlib import blake2b

from tagalong.ner.document import Document
from tagalong.ner.errors import InputError
from tagalong.training.corpus.hash_split import normalize_text

FOLD_HASH_PERSON = b"tagalong.fold"  # independent of the hashes that split and hold out


def assign_folds(documents: Sequence[Document], n_folds: int) -> list[int]:
    """Give every document the number of its fold.

    Different texts are dealt out like cards in the order of their hashes, so folds differ by one
    text at most. The order of the documents does not matter, and equal texts, as a split sees them,
    share a fold.

    Args:
        documents: Any documents.
        n_folds: How many folds; two or more.

    Returns:
        Numbers from 0, one per document.

    Raises:
        InputError: If there are fewer different texts than folds.
    """
    keys = [normalize_text(document.text) for document in documents]
    in_order = sorted(set(keys), key=lambda key: (_fold_digest(key), key))
    if not 2 <= n_folds <= len(in_order):
        raise InputError(
            f"{len(in_order)} different texts cannot make {n_folds} folds: ask for at least 2 "
            "folds, and for no more of them than there are texts"
        )
    places = {key: place % n_folds for place, key in enumerate(in_order)}
    return [places[key] for key in keys]


def _fold_digest(key: str) -> bytes:
    """What the order of texts is drawn by."""
    return blake2b(key.encode(), digest_size=8, person=FOLD_HASH_PERSON).digest()
