"""Offsets of annotations as a file states them: code points or UTF-16 units.

Label Studio stores the covered text beside the offsets (``value.text``). It is display text:
newlines appear as a backslash and ``n``, and runs of white space may be one blank (label-studio
#3078). So no annotation is read from it. But it shows wrong offsets, and whether an old export
counts UTF-16 units, as JavaScript's strings do (label-studio #1347, #4988).
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
    "alike",  # no offset lies behind an astral character, so both units agree
    "code points",
    "UTF-16 units",
    "either",  # the stated texts fit both units, in different places
    "unchecked",  # the units differ, but no text is stated
    "undecidable",  # the stated texts contradict each other, or fit neither unit
]


@dataclass(frozen=True, slots=True)
class RawSpan:
    """One annotation as stated, not yet compared with the text."""

    start: int
    end: int
    labels: tuple[str, ...]  # all of them, in order
    text: str = ""  # empty if none is stated
    score: float | None = None  # confidence, if a model drew it


def is_same_text(stated: str, covered: str) -> bool:
    """Whether two texts agree once line breaks and runs of white space are single blanks."""
    if stated == covered:  # nearly all
        return True
    words, others = (ESCAPED_LINE_BREAK.sub(" ", text).split() for text in (stated, covered))
    return words == others


def detect_offset_unit(regions: Sequence[RawSpan], text: str) -> OffsetUnit:
    """Find out whether offsets count code points or UTF-16 units.

    The units differ only behind an astral character (an emoji, a mathematical letter). Only stated
    texts can show the unit: a region that fits in one unit alone decides. Returns the unit, or the
    reason why the regions of this annotation do not show it.
    """
    units = _utf16_offsets(text)
    if units is None:
        return "alike"
    recounted = [(region, _to_code_points(region, units)) for region in regions]
    different = [(region, moved) for region, moved in recounted if moved != region]
    fits = {
        (_matches_stated_text(region, text), _matches_stated_text(moved, text))
        for region, moved in different
        if region.text
    }
    if not fits:
        return "unchecked" if different else "alike"
    only_points, only_units = (True, False) in fits, (False, True) in fits
    if only_points != only_units:
        return "code points" if only_points else "UTF-16 units"
    return "either" if fits == {(True, True)} else "undecidable"


def combine_offset_units(units: Iterable[OffsetUnit]) -> OffsetUnit:
    """Find the unit of an export from the units of its annotations.

    It is "either" if none of them shows one, or if both occur. Both occur in a project that is
    older than an update of Label Studio.
    """
    shown = {unit for unit in units if unit in ("code points", "UTF-16 units")}
    return shown.pop() if len(shown) == 1 else "either"


def utf16_to_code_points(regions: Sequence[RawSpan], text: str) -> list[RawSpan | None]:
    """Convert offsets from UTF-16 units; None outside the text, or for half a character."""
    if (units := _utf16_offsets(text)) is None:
        return list(regions)
    return [_to_code_points(region, units) for region in regions]


def _utf16_offsets(text: str) -> list[int] | None:
    """UTF-16 offset of each code point and of the end; None if both units agree."""
    if not ASTRAL.search(text):
        return None
    return list(accumulate((1 + (char > "\uffff") for char in text), initial=0))


def _to_code_points(region: RawSpan, units: Sequence[int]) -> RawSpan | None:
    start, end = bisect_left(units, region.start), bisect_left(units, region.end)
    if max(start, end) == len(units) or (units[start], units[end]) != (region.start, region.end):
        return None
    return replace(region, start=start, end=end)


def _matches_stated_text(region: RawSpan | None, text: str) -> bool:
    return (
        region is not None
        and 0 <= region.start < region.end <= len(text)
        and is_same_text(region.text, text[region.start : region.end])
    )
