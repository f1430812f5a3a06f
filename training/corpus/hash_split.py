"""Splits by content: the same text is on the same side, in every corpus and for ever.

The side of a document depends on nothing but its text and the shares. White space and case do not
count, so that copies which differ only in them cannot straddle a split either.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from itertools import accumulate

from tagalong.ner.document import Document
from tagalong.ner.errors import InputError

SPLIT_HASH_PERSON = (
    b"tagalong.split"  # the uses of the hash must be independent: with the same one, the dev
)
DEV_HASH_PERSON = b"tagalong.hold"  # share of a train side would be empty or all of it
HELD_OUT_HASH_PERSON = b"tagalong.gate"


def normalize_text(text: str) -> str:
    """What makes two texts the same for a split.

    Args:
        text: Any text.

    Returns:
        The text without case, and with every run of white space as one blank.
    """
    return " ".join(text.casefold().split())


def split_documents(
    documents: Sequence[Document], shares: Mapping[str, float]
) -> dict[str, list[Document]]:
    """Split documents by a hash of their text.

    Args:
        documents: Any documents.
        shares: Share of each side, in order, such as ``{"train": 0.8, "dev": 0.1, "test": 0.1}``.

    Returns:
        The documents of each side in their order; every document is on exactly one side. Sizes
        follow the shares only as closely as chance allows.

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
    sides: dict[str, list[Document]] = {name: [] for name in shares}
    for document in documents:
        place = _hash_to_unit_interval(document.text, SPLIT_HASH_PERSON)
        # The last side takes what rounding leaves above the last border.
        side = next((name for name, border in borders if place < border), borders[-1][0])
        sides[side].append(document)
    return sides


def split_off_dev(
    documents: Sequence[Document], share: float
) -> tuple[list[Document], list[Document]]:
    """Set a share of documents aside by a hash of their text, independently of `split_documents`.

    Args:
        documents: Any documents.
        share: Of the documents, to be held out; between 0 and 1.

    Returns:
        The documents that stay and those held out, in their order. Where chance would leave a side
        empty, it gets the one text whose hash is nearest to the border, so that two different
        texts are enough for both sides.

    Raises:
        InputError: If the share is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise InputError(
            f"a share of {share:g} cannot be held out: it must be between 0 and 1",
            code="share-not-a-part",
        )
    keys = [normalize_text(document.text) for document in documents]
    places = {key: _hash_to_unit_interval(key, DEV_HASH_PERSON) for key in dict.fromkeys(keys)}
    if len(places) > 1:
        lowest, highest = min(places.values()), max(places.values())
        share = max(share, math.nextafter(lowest, 1)) if lowest >= share else min(share, highest)
    sides: tuple[list[Document], list[Document]] = ([], [])
    for document, key in zip(documents, keys, strict=True):
        sides[places[key] < share].append(document)
    return sides


def split_off_held_out(
    documents: Sequence[Document], share: float
) -> tuple[list[Document], list[Document]]:
    """Part what versions may learn from and what they are judged by, for ever.

    Unlike with `split_off_dev`, the side of a document depends on its text and the share alone, so the
    sides only grow as documents are added, and may be empty.

    Args:
        documents: Of a project.
        share: Of them, that is kept out of all training, as near as chance comes.

    Returns:
        The documents that may be learnt from and those kept out, in their order.
    """
    sides: tuple[list[Document], list[Document]] = ([], [])
    for document in documents:
        sides[_hash_to_unit_interval(document.text, HELD_OUT_HASH_PERSON) < share].append(document)
    return sides


def find_shared_texts(
    documents: Sequence[Document], other_documents: Sequence[Document]
) -> list[tuple[Document, Document]]:
    """Find texts that are in two sets of documents which should have none in common.

    Args:
        documents: For instance what a model is trained on.
        other_documents: For instance what it is judged on.

    Returns:
        Each document of the right with the first one of the left that has the same text, but for
        white space and case.
    """
    known: dict[str, Document] = {}
    for document in documents:
        known.setdefault(normalize_text(document.text), document)
    keyed = ((normalize_text(document.text), document) for document in other_documents)
    return [(known[key], document) for key, document in keyed if key in known]


def find_repeated_texts(documents: Sequence[Document]) -> list[list[Document]]:
    """Find texts that occur more than once in a set of documents.

    Args:
        documents: Any documents.

    Returns:
        Groups of two or more documents with the same text, but for white space and case.
    """
    groups: defaultdict[str, list[Document]] = defaultdict(list)
    for document in documents:
        groups[normalize_text(document.text)].append(document)
    return [group for group in groups.values() if len(group) > 1]


def _hash_to_unit_interval(text: str, purpose: bytes) -> float:
    """A number in [0, 1) that is drawn by the text alone."""
    digest = blake2b(normalize_text(text).encode(), digest_size=6, person=purpose).digest()
    return int.from_bytes(digest, "big") / 2**48  # 48 bits: exact as a float
