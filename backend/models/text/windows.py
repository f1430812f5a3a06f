"""Cover the words of a document with windows, so that a long document is never cut.

The model reads one window at a time. Each word is owned by exactly one window, which decides its
tag. Around the owned words a window holds context, so that no word is tagged at the edge of what
the model sees.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True, slots=True)
class Window:
    """A run of words; all fields are word indices, ends exclusive.

    Attributes:
        start: First word that the model reads.
        end: End of the words that it reads.
        owned_start: First word whose tag this window decides.
        owned_end: End of those words.
    """

    start: int
    end: int
    owned_start: int
    owned_end: int


def plan_windows(lengths: Sequence[int], *, capacity: int, context: int) -> list[Window]:
    """Plan the windows of one document.

    Args:
        lengths: Sub-words of each word.
        capacity: Sub-words that fit in a window.
        context: Sub-words of context on either side of the owned words.

    Returns:
        Windows in order. Their owned words partition the document. A window exceeds `capacity` only
        where a single word does.

    Raises:
        ValueError: If the context leaves no room for an owned word.
    """
    if capacity - 2 * context < 1:
        raise ValueError(f"{context} sub-words of context on both sides do not fit in {capacity}")
    before = [0, *accumulate(lengths)]  # sub-words before each word
    count = len(lengths)
    windows = []
    owned_start = 0
    while owned_start < count:
        start = owned_start
        while start > 0 and before[owned_start] - before[start - 1] <= context:
            start -= 1
        owned_end = owned_start + 1
        if before[count] - before[start] <= capacity:  # the rest fits, and needs no context after
            owned_end = count
        while owned_end < count and before[owned_end + 1] - before[start] <= capacity - context:
            owned_end += 1
        end = owned_end
        while end < count and before[end + 1] - before[start] <= capacity:
            end += 1
        windows.append(Window(start, end, owned_start, owned_end))
        owned_start = owned_end
    return windows
