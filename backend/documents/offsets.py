"""Offsets of annotations as a file states them, in any common way of counting.

Label Studio stores the covered text beside the offsets (``value.text``). It is display text:
newlines appear as a backslash and ``n``, and runs of white space may be one blank (label-studio
#3078). So no annotation is read from it. But it shows wrong offsets, and how an export counts them:
old ones count UTF-16 units, as JavaScript's strings do (label-studio #1347, #4988).
"""

import html
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from unicodedata import combining, normalize

from tagalong.ner.document import DropReason

# Of a text that Label Studio fetches, in its own files, on the web or in a cloud's storage.
ADDRESS = re.compile(
    r"(?:[a-z][a-z0-9+_-]+://|/(?:data|storage-data|tasks/\d+/(?:resolve|presign))/)\S+",
    re.IGNORECASE,
)
ESCAPED_LINE_BREAK = re.compile(r"\\r\\n|\\[nr]")
HTML_ENTITY = r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]\w{1,31});"
NOT_ASCII, ASTRAL, CRLF, LONE_LF = r"[^\0-\x7f]", r"[\U00010000-\U0010ffff]", r"\r\n", r"(?<!\r)\n"
# Those in ASCII that a counting may count otherwise, with the greatest difference.
SPECIAL_CHARACTERS = {"\n": 1, "&": 32, "<": 3, ">": 3, '"': 5, "'": 5}
MAX_DIFFERENCE_PER_BYTE = 3  # for others, by bytes of UTF-8 beyond the first
LAST_DECOMPOSABLE = 0x2FA1D  # the last character that has a canonical decomposition


@dataclass(frozen=True, slots=True)
class RawSpan:
    """One annotation as stated, not yet compared with the text."""

    start: int
    end: int
    labels: tuple[str, ...]  # all of them, in order
    text: str = ""  # empty if none is stated
    score: float | None = None  # confidence, if a model drew it
    control_type: str = ""  # of a region that is not one of a <Labels>, and so has no label
    is_part: bool = False  # a stretch that is unknown for another reason than a missing label


@dataclass(frozen=True, slots=True)
class PassageSpan(RawSpan):
    """An annotation in a passage of a text, from whose start some tools count."""

    passage_start: int = 0  # what to add to offsets that count so


@dataclass(frozen=True, slots=True)
class Counting:
    """A way to count offsets."""

    name: str  # also the warning about offsets that were counted so
    pattern: Callable[[], str] | str = "(?!)"  # what it counts otherwise than by code points
    width: Callable[[str], int] = len  # of a match
    # Constants that it adds to all starts and ends.
    start_shift: int = 0
    end_shift: int = 0
    is_from_passage: bool = False  # counts from the passage of an annotation

    def to_code_points(self, regions: Sequence[RawSpan], text: str) -> list[RawSpan | None]:
        """Convert offsets to code points; None outside the text, or inside what counts as one."""
        return [*map(self.make_converter(text), regions)]

    def make_converter(self, text: str) -> Callable[[RawSpan], RawSpan | None]:
        """A function that converts the offsets of one region, as `to_code_points` does."""
        return _keep if self == CODE_POINTS else _OffsetTable(self, text).convert


def _keep(region: RawSpan) -> RawSpan:
    return region


class _OffsetTable:
    # Where a counting and code points differ in one text.

    def __init__(self, counting: Counting, text: str) -> None:
        self._counting, self._length = counting, len(text)
        # Of each difference: its start and end as counted, and in code points.
        self._starts: list[int] = []
        self._bounds: list[tuple[int, int, int]] = []
        surplus = 0
        for match in _compile(counting).finditer(text):
            if (width := counting.width(match.group())) != match.end() - match.start():
                start = match.start() + surplus
                self._starts.append(start)
                self._bounds.append((start + width, *match.span()))
                surplus += width - (match.end() - match.start())

    def convert(self, region: RawSpan) -> RawSpan | None:
        moved = 0
        if self._counting.is_from_passage and isinstance(region, PassageSpan):
            moved = region.passage_start
        start = self._to_code_point(region.start + moved - self._counting.start_shift)
        end = self._to_code_point(region.end + moved - self._counting.end_shift)
        if start is None or end is None:
            return None
        if (start, end) == (region.start, region.end):
            return region
        return replace(region, start=start, end=end)

    def _to_code_point(self, offset: int) -> int | None:
        last = bisect_right(self._starts, offset) - 1
        point = offset
        if last >= 0:
            counted_end, first, end = self._bounds[last]
            if offset >= counted_end:
                point = end + offset - counted_end
            elif offset == self._starts[last]:
                point = first
            else:
                return None
        return point if 0 <= point <= self._length else None


@cache
def _compile(counting: Counting) -> re.Pattern[str]:
    pattern = counting.pattern
    return re.compile(pattern if isinstance(pattern, str) else pattern())


@cache
def _composable_pattern() -> str:
    # A character and those after it that NFC may compose with it: combining marks, Hangul's vowels
    # and finals, and a few vowel signs.
    decomposed = (normalize("NFD", chr(code))[1:] for code in range(0xC0, LAST_DECOMPOSABLE + 1))
    marks = {mark for marks in decomposed for mark in marks}
    marks |= {chr(code) for code in range(0x300, LAST_DECOMPOSABLE + 1) if combining(chr(code))}
    return f"(?s:.)[{''.join(sorted(marks))}]+"


def _utf16_width(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


CODE_POINTS = Counting("code points")
UTF_16 = Counting("UTF-16 offsets", ASTRAL, _utf16_width)
# The likeliest first.
COUNTINGS: tuple[Counting, ...] = (
    CODE_POINTS,
    UTF_16,
    Counting("CRLF counted as one", CRLF, lambda _: 1),
    Counting(
        "UTF-16 offsets, CRLF counted as one",
        f"{ASTRAL}|{CRLF}",
        lambda text: 1 if text == "\r\n" else 2,
    ),
    Counting("LF counted as two", LONE_LF, lambda _: 2),
    Counting("HTML entities counted as one", HTML_ENTITY, lambda text: len(html.unescape(text))),
    Counting("HTML escapes counted", "[&<>]", lambda text: len(html.escape(text))),
    Counting("HTML escapes of quotes counted", "[&<>\"']", lambda text: len(html.escape(text))),
    Counting("byte offsets", NOT_ASCII, lambda text: len(text.encode("utf-8", "surrogatepass"))),
    Counting("NFC offsets", _composable_pattern, lambda text: len(normalize("NFC", text))),
    Counting("NFD offsets", NOT_ASCII, lambda text: len(normalize("NFD", text))),
    Counting("leading white space not counted", r"\A[\s\ufeff]+", lambda _: 0),
    Counting("offsets from each passage", is_from_passage=True),
)
SHIFTED_NAME = "shifted offsets"


def shift(start: int, end: int) -> Counting:
    """A counting that adds constants to starts and ends."""
    return Counting(SHIFTED_NAME, start_shift=start, end_shift=end)


def is_same_text(stated: str, covered: str) -> bool:
    """Whether two texts agree but for white space, line breaks, HTML entities and composition."""
    if stated == covered:  # nearly all
        return True
    if _to_words(stated) == _to_words(covered):
        return True
    stated, covered = (normalize("NFC", html.unescape(text)) for text in (stated, covered))
    return _to_words(stated) == _to_words(covered)


def is_address(text: str) -> bool:
    """Whether a text is nothing but the address of a text."""
    return ADDRESS.fullmatch(text.strip()) is not None


def _to_words(text: str) -> list[str]:
    return ESCAPED_LINE_BREAK.sub(" ", text).split()


def is_inside(region: RawSpan, text: str) -> bool:
    """Whether a region is a stretch of a text."""
    return 0 <= region.start < region.end <= len(text)


def explain_misplacement(region: RawSpan, text: str) -> DropReason:
    """Why a region is no stretch of a text."""
    if region.end < region.start:
        return "end before start"
    is_empty = 0 <= region.start == region.end <= len(text)
    return "empty" if is_empty else "offset outside the text"


def is_contradicted(region: RawSpan, text: str) -> bool:
    """Whether a region inside a text, in code points, states another text than it covers."""
    covered = text[region.start : region.end]
    return bool(region.text) and region.text != covered and not is_same_text(region.text, covered)


def stands_as_stated(region: RawSpan | None, text: str) -> bool:
    """Whether a region is inside a text, and covers the text that it states."""
    return (
        region is not None
        and is_inside(region, text)
        and is_same_text(region.text, text[region.start : region.end])
    )


def find_counting(regions: Sequence[RawSpan], text: str) -> Counting:
    """The first counting in which all regions cover the texts that they state; else code points."""
    stated = [region for region in regions if region.text]
    fitting = (
        counting
        for counting in COUNTINGS
        if all(stands_as_stated(one, text) for one in counting.to_code_points(stated, text))
    )
    return next(fitting, CODE_POINTS)


def is_counted_alike(regions: Sequence[RawSpan], text: str) -> bool:
    """Whether the regions show that they count code points, or no counting moves them.

    Fast, so it may be False where a comparison of all countings would show the same.
    """
    last, last_stated, length = -1, None, len(text)
    for region in regions:
        start, end = region.start, region.end
        if end > last:
            last = end
        if isinstance(region, PassageSpan) and _fits_from_passage(region, text):
            return False
        if region.text:
            is_exact = 0 <= start < end <= length and region.text == text[start:end]
            if not is_exact and not stands_as_stated(region, text):
                return False
            if last_stated is None or start >= last_stated.start:
                last_stated = region
    reach = _max_displacement(text, last)
    if not reach:
        return True
    if last_stated is None or last > last_stated.end:
        return False
    # In another counting the last region would be elsewhere, but near, with the same text.
    start, end = last_stated.start, last_stated.end
    covered = text[start:end]
    near = text.find(covered, max(0, start - reach), end + reach)
    return near == start and text.find(covered, start + 1, end + reach) < 0


def _fits_from_passage(region: PassageSpan, text: str) -> bool:
    start = region.passage_start
    return start != 0 and text.startswith(region.text, max(region.start + start, 0))


def _max_displacement(text: str, end: int) -> int:
    # An upper bound of how far any counting moves an offset before `end`.
    head = text[: max(end, 0)]
    reach = sum(head.count(char) * most for char, most in SPECIAL_CHARACTERS.items())
    if not head.isascii():
        more = len(head.encode("utf-8", "surrogatepass")) - len(head)
        reach += MAX_DIFFERENCE_PER_BYTE * more
    return reach + len(head) - len(head.lstrip())


def find_shifts(region: RawSpan, text: str) -> Iterator[tuple[int, int]]:
    """The differences of a region's offsets to the places of the text that it states."""
    at = text.find(region.text)
    while at >= 0:
        yield region.start - at, region.end - at - len(region.text)
        at = text.find(region.text, at + 1)
