r"""Text to words: a word is a run of letters, digits and underscores, or any other single mark.

Tags, prompt slots and length buckets of all tiers use this one rule, the regular expression
``\w+|[^\w\s]``. White space belongs to no word.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

WORD_PATTERN = re.compile(r"\w+|[^\w\s]")


def word_offsets(text: str) -> list[tuple[int, int]]:
    """Find the words of a text: half-open offsets in code points, in order."""
    return [match.span() for match in WORD_PATTERN.finditer(text)]


def overlapping_words(words: Sequence[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    """Find the words that share at least one code point with ``text[start:end]``.

    Returns a half-open range of indices into ``words``; first == last for white space only.
    """
    first = bisect_right(words, start, key=lambda word: word[1])
    last = bisect_left(words, end, key=lambda word: word[0])
    return first, max(first, last)


def is_inside_word(text: str, position: int) -> bool:
    """Whether a position (before that code point) is inside a word, where no span may end."""
    if not 0 < position < len(text):
        return False
    both = WORD_PATTERN.match(text, position - 1, position + 1)
    return both is not None and both.end() > position


def trim_to_words(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The stretch without the characters at its edges that belong to no word; None without words.

    Words are those of ``text[start:end]`` alone, so an edge inside a word stays there.
    """
    words = word_offsets(text[start:end])
    return (start + words[0][0], start + words[-1][1]) if words else None
