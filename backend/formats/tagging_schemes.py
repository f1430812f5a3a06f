"""Tagging schemes of token files: IOB1, IOB2, BIOES, BMES, BILOU, bare B and I, and plain labels.

Entities follow conlleval's rule (Tjong Kim Sang & De Meulder 2003). One begins at B-, S-, U- and
W-, and at any other tag without an open entity of its label before it. So all these schemes are
read alike, and an I- that begins an entity is counted.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

SchemeName = Literal["B-label", "B_label", "label-B", "B", "label"]
Tag = tuple[str, str]  # prefix in upper case, and label; of plain labels, the prefix is empty

# Phrases of CoNLL-2000 and CoNLL-2003, which are no entities.
CHUNK_LABELS = frozenset(
    {"NP", "VP", "PP", "ADVP", "SBAR", "ADJP", "PRT", "CONJP", "INTJ", "LST", "UCP"}
)
OUTSIDE: Tag = ("O", "")
OUTSIDE_VALUES = frozenset({"O", "o", "_", "-"})  # the last two: no value, in CoNLL-U and others
BEGIN_PREFIXES = frozenset("BSUW")
END_PREFIXES = frozenset("ESLUW")
PATTERNS: Mapping[SchemeName, re.Pattern[str]] = {
    # Of nested entities, B-X|I-Y is no tag of flat ones.
    "B-label": re.compile(
        r"(?P<prefix>[BIESLUMWbieslumw])-(?P<label>(?!.*[|+,;/][BIESLUMW]-)\S.*)"
    ),
    "B": re.compile(r"(?P<prefix>[BIESLUMW]|[bi])(?P<label>)"),
    "B_label": re.compile(r"(?P<prefix>[BIESLUMW])_(?P<label>\S.*)"),
    "label-B": re.compile(r"(?P<label>\S.*)[-_](?P<prefix>[BIESLUMW])"),
    "label": re.compile(r"(?P<prefix>)(?P<label>(?!.-)[^\W\d_](?:.*\S)?)"),
}
# Of the tags of a column that are not O; a wrong one is refused with its line.
MIN_VALID_SHARES: Mapping[SchemeName, float] = {
    "B-label": 0.6,
    "B": 0.9,
    "B_label": 0.9,
    "label-B": 0.9,
    "label": 1.0,
}
MIN_OUTSIDE_SHARE = 0.9  # of a column's values, where none of its few tags is one of a scheme
MAX_PLAIN_LABELS = 50  # more different values are words


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity of a sentence."""

    first: int  # index of its first token
    last: int  # and of its last
    label: str


def parse_tag(value: str, scheme: SchemeName) -> Tag | None:
    """Split a tag into prefix and label; None for a value that the scheme does not have."""
    if value in OUTSIDE_VALUES:
        return OUTSIDE
    match = PATTERNS[scheme].fullmatch(value)
    return match and (match["prefix"].upper(), match["label"])


def detect_scheme(counts: Mapping[str, int], *, is_named: bool = False) -> SchemeName | None:
    """Find the scheme of a column from the number of times that each value occurs.

    Returns None for a column that has no tags. The user may have named the column: then it needs no
    O, and plain labels may be many.
    """
    values = {value: count for value, count in counts.items() if value not in OUTSIDE_VALUES}
    has_outside = "O" in counts or "o" in counts
    if not values:
        return "B-label" if has_outside else None
    total = sum(values.values())
    for scheme, share in MIN_VALID_SHARES.items():
        if sum(n for value, n in values.items() if parse_tag(value, scheme)) < share * total:
            continue
        if is_named or _is_plausible(scheme, values, has_outside=has_outside):
            return scheme
    outside = sum(counts.values()) - total
    return "B-label" if has_outside and outside >= MIN_OUTSIDE_SHARE * (outside + total) else None


def _is_plausible(scheme: SchemeName, values: Collection[str], *, has_outside: bool) -> bool:
    # Words may look like tags of all schemes but the first: "Hepatitis B" ends in one.
    if scheme == "label":
        mixed = any(parse_tag(value, "B") for value in values)
        return has_outside and not mixed and len(values) <= MAX_PLAIN_LABELS
    if scheme == "B-label":
        return True
    prefixes = {tag[0] for value in values if (tag := parse_tag(value, scheme))}
    return has_outside and not prefixes.isdisjoint(BEGIN_PREFIXES | {"I"})


def decode_entities(tags: Iterable[Tag]) -> tuple[list[Entity], int]:
    """Find the entities of a sentence, and the number of them that begin with I-, M-, E- or L-."""
    found: list[tuple[int, int, str]] = []
    orphans, open_label, is_open = 0, "", False
    for index, (prefix, label) in enumerate(tags):
        if prefix == "O":
            is_open = False
            continue
        if prefix in BEGIN_PREFIXES or not is_open or label != open_label:
            orphans += prefix not in BEGIN_PREFIXES and bool(prefix)
            found.append((index, index, label))
        else:
            found[-1] = (found[-1][0], index, label)
        is_open, open_label = prefix not in END_PREFIXES, label
    return [Entity(*entity) for entity in found], orphans
