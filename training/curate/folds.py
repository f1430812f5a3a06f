"""Deterministic, balanced cross-validation folds by content."""

from collections.abc import Sequence
from hashlib import blake2b

from tagalong.ner.document import Document
from tagalong.ner.errors import InputError
from tagalong.training.corpus.hash_split import normalize_text

FOLD_HASH_PERSON = b"tagalong.fold"  # independent of the hashes of splits and selection


def assign_folds(documents: Sequence[Document], n_folds: int) -> list[int]:
    """Assign each document to a fold.

    Different texts are assigned in turn in the order of their hashes, so fold sizes differ by at
    most one text. The input order is irrelevant. Equal texts, compared as in a split, share a fold.

    Args:
        documents: Documents in any order.
        n_folds: Number of folds, at least 2.

    Returns:
        Fold numbers from 0, in the order of `documents`.

    Raises:
        InputError: If there are fewer different texts than folds.
    """
    keys = [normalize_text(document.text) for document in documents]
    ordered_keys = sorted(set(keys), key=lambda key: (_fold_digest(key), key))
    if not 2 <= n_folds <= len(ordered_keys):
        raise InputError(
            f"{len(ordered_keys)} different texts are too few for {n_folds} folds: use at least 2 "
            "folds and at most one per text",
            code="too-few-texts-for-folds",
        )
    fold_by_key = {key: index % n_folds for index, key in enumerate(ordered_keys)}
    return [fold_by_key[key] for key in keys]


def _fold_digest(key: str) -> bytes:
    return blake2b(key.encode(), digest_size=8, person=FOLD_HASH_PERSON).digest()
