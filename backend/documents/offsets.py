"""Annotations as a file states them, before anyone has held them against the text.

Label Studio repeats the covered text beside the offsets (``value.text``). It is display text:
newlines appear as a backslash and ``n``, runs of white space may be one blank (label-studio #3078).
So nothing is ever read from it, but it tells when offsets do not fit, and whether an old export
counts UTF-16 units (label-studio #1347, #4988), as JavaScript's strings do, and not code points.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal

ASTRAL = re.compile(r"[\U00010000-\U0010ffff]")  # one code point, two UTF-16 units
ESCAPED_LINE_BREAK = re.compile(r"\\r\\n|\\[nr]")

OffsetUnit = Literal[
    "alike",  # both are one: nothing lies behind an astral character
    "code points",
    "UTF-16 units",
    "either",  # stated texts fit both, in different places
    "unchecked",  # the two differ, but no text is stated
    "undecidable",  # stated texts contradict each other, or fit neither
]


@dataclass(frozen=True, slots=True)
class RawSpan:
    """One annotation, unchecked.

    Attributes:
        start: Where it is said to start.
        end: Where it is said to end.
        labels: Every label it carries, in their order.
        text: What it is said to cover; empty where that is not said.
        score: Confidence, where a model drew it.
    """

    start: int
    end: int
    labels: tuple[str, ...]
    text: str = ""
    score: float | None = None


def is_same_text(stated: str, covered: str) -> bool:
    """Whether a stated text is the covered one, but for the way white space is displayed.

    Args:
        stated: What a region says that it covers.
        covered: What its offsets cover.

    Returns:
        True when they are equal once breaks are blanks and runs of white space are one blank.
    """
    return stated == covered or _normalize_whitespace(stated) == _normalize_whitespace(covered)


def _normalize_whitespace(text: str) -> str:
    """A text with every run of white space, written or escaped, as one blank."""
    return " ".join(ESCAPED_LINE_BREAK.sub(" ", text).split())


def detect_offset_unit(regions: Sequence[RawSpan], text: str) -> OffsetUnit:
    """Find out whether offsets count code points or UTF-16 units.

    The two differ only behind an astral character (an emoji, a mathematical letter), and only a
    stated text can tell which one was meant: one region that fits in a single way decides.

    Args:
        regions: The regions of one annotation.
        text: The text they were drawn in.

    Returns:
        The way of counting, or why it cannot be told by these regions alone.
    """
    units = _utf16_offsets(text)
    if units is None:
        return "alike"
    recounted = [(region, _to_code_points(region, units)) for region in regions]
    telling = [(region, moved) for region, moved in recounted if moved != region]
    fits = {
        (
            _matches_stated_text(region, text),
            moved is not None and _matches_stated_text(moved, text),
        )
        for region, moved in telling
        if region.text
    }
    if not fits:
        return "unchecked" if telling else "alike"
    only_points, only_units = (True, False) in fits, (False, True) in fits
    if only_points != only_units:
        return "code points" if only_points else "UTF-16 units"
    return "either" if fits == {(True, True)} else "undecidable"


def combine_offset_units(countings: Iterable[OffsetUnit]) -> OffsetUnit:
    """Find out what an export counts, for annotations whose own texts fit both ways.

    Args:
        countings: What `detect_offset_unit` says of its annotations.

    Returns:
        The one way of counting that any of them shows; "either" where none does, or where they
        show both, as in a project that is older than an update of Label Studio.
    """
    shown = {counting for counting in countings if counting in ("code points", "UTF-16 units")}
    return shown.pop() if len(shown) == 1 else "either"


def utf16_to_code_points(regions: Sequence[RawSpan], text: str) -> list[RawSpan | None]:
    """Turn offsets that count UTF-16 units into offsets that count code points.

    Args:
        regions: Regions whose offsets count UTF-16 units of the text.
        text: The text they were drawn in.

    Returns:
        The same regions, recounted; None for one outside the text or halfway into a character.
    """
    units = _utf16_offsets(text)
    return (
        list(regions) if units is None else [_to_code_points(region, units) for region in regions]
    )


def _utf16_offsets(text: str) -> list[int] | None:
    """UTF-16 units before each code point, and in all; None where both counts are the same."""
    if not ASTRAL.search(text):
        return None
    return list(accumulate((1 + (char > "\uffff") for char in text), initial=0))


def _to_code_points(region: RawSpan, units: Sequence[int]) -> RawSpan | None:
    """A region moved from UTF-16 units to code points, or None where it has no place there."""
    start, end = bisect_left(units, region.start), bisect_left(units, region.end)
    if max(start, end) == len(units) or (units[start], units[end]) != (region.start, region.end):
        return None
    return replace(region, start=start, end=end)


def _matches_stated_text(region: RawSpan, text: str) -> bool:
    """Whether a region's offsets cover the text that it states."""
    in_text = 0 <= region.start < region.end <= len(text)
    return in_text and is_same_text(region.text, text[region.start : region.end])
