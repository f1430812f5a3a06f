"""Splits by content: the same text is in the same split, in every corpus and for ever.

The split of a document depends on its text and the shares alone. White space and case do not count,
so that copies which differ only in them are in the same split too.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from itertools import accumulate

from tagalong.ner.document import Document
from tagalong.ner.errors import InputError

# Each use has a hash of its own. With the same one, the dev share of a train split would be empty
# or all of it.
SPLIT_HASH_PERSON = b"tagalong.split"
DEV_HASH_PERSON = b"tagalong.hold"
HELD_OUT_HASH_PERSON = b"tagalong.gate"


def normalize_text(text: str) -> str:
    """Remove case, and turn every run of white space into one blank."""
    return " ".join(text.casefold().split())


def split_documents(
    documents: Sequence[Document], shares: Mapping[str, float]
) -> dict[str, list[Document]]:
    """Split documents by a hash of their text.

    Shares are in the order of the splits, such as ``{"train": 0.8, "dev": 0.1, "test": 0.1}``.
    Every document is in exactly one split. Sizes are only near the shares, because the hash is
    random.

    Raises:
        InputError: If the shares are not numbers above 0 that add up to 1.
    """
    total = math.fsum(shares.values())
    if not all(share > 0 for share in shares.values()) or not math.isclose(total, 1):
        given = ", ".join(f"{name} {share:g}" for name, share in shares.items()) or "none"
        raise InputError(
            f"the shares are {given}: they must be above 0 and add up to 1", code="shares-not-one"
        )
    borders = list(zip(shares, accumulate(shares.values()), strict=True))
    splits: dict[str, list[Document]] = {name: [] for name in shares}
    for document in documents:
        number = _hash_to_unit_interval(document.text, SPLIT_HASH_PERSON)
        # Rounding can leave a gap above the last border; it belongs to the last split.
        split = next((name for name, border in borders if number < border), borders[-1][0])
        splits[split].append(document)
    return splits


def split_off_dev(
    documents: Sequence[Document], share: float
) -> tuple[list[Document], list[Document]]:
    """Hold out a share of documents by a hash of their text, independently of `split_documents`.

    Returns the remaining and the held-out documents, in their order. An empty split gets the text
    whose hash is nearest to the border, so that two different texts are enough for both.

    Raises:
        InputError: If the share is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise InputError(
            f"a share of {share:g} cannot be held out: it must be between 0 and 1",
            code="share-not-a-part",
        )
    keys = [normalize_text(document.text) for document in documents]
    hashes = {key: _hash_to_unit_interval(key, DEV_HASH_PERSON) for key in dict.fromkeys(keys)}
    if len(hashes) > 1:  # a single text cannot be in both splits
        lowest, highest = min(hashes.values()), max(hashes.values())
        share = max(share, math.nextafter(lowest, 1)) if lowest >= share else min(share, highest)
    return _part(documents, [hashes[key] < share for key in keys])


def split_off_held_out(
    documents: Sequence[Document], share: float
) -> tuple[list[Document], list[Document]]:
    """Hold out a share of a project's documents from all training, for comparing versions.

    Unlike with `split_off_dev`, the split of a document depends on its text and the share alone. So
    both splits only grow as documents are added, and may be empty.

    Returns the documents for training and those held out, in their order.
    """
    hashes = [_hash_to_unit_interval(one.text, HELD_OUT_HASH_PERSON) for one in documents]
    return _part(documents, [number < share for number in hashes])


def _part(
    documents: Sequence[Document], is_held_out: Sequence[bool]
) -> tuple[list[Document], list[Document]]:
    splits: tuple[list[Document], list[Document]] = ([], [])
    for document, held_out in zip(documents, is_held_out, strict=True):
        splits[held_out].append(document)
    return splits


def find_shared_texts(
    documents: Sequence[Document], other_documents: Sequence[Document]
) -> list[tuple[Document, Document]]:
    """Find texts that two sets share, such as train and test, but for white space and case.

    Returns for each shared text the first document of the first set, and each of the second.
    """
    # Reversed, so that of equal texts the first document stays.
    first_by_text = {normalize_text(document.text): document for document in reversed(documents)}
    keyed = ((normalize_text(document.text), document) for document in other_documents)
    return [(first_by_text[key], document) for key, document in keyed if key in first_by_text]


def find_repeated_texts(documents: Sequence[Document]) -> list[list[Document]]:
    """Group documents with the same text, but for white space and case; two or more a group."""
    groups: defaultdict[str, list[Document]] = defaultdict(list)
    for document in documents:
        groups[normalize_text(document.text)].append(document)
    return [group for group in groups.values() if len(group) > 1]


def _hash_to_unit_interval(text: str, purpose: bytes) -> float:
    digest = blake2b(normalize_text(text).encode(), digest_size=6, person=purpose).digest()
    return int.from_bytes(digest, "big") / 2**48  # 48 bits: exact as a float
