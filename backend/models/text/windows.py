"""Words to windows: long documents are never cut, each word is owned by exactly one window.

A window is what the encoder reads at once. Around the words it owns it holds words of its
neighbours as context, so that no word is judged from the edge of what the model sees.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True, slots=True)
class Window:
    """A run of words that is read at once; all indices are words, half-open.

    Attributes:
        start: First word read.
        end: One past the last word read.
        owned_start: First word owned, whose tag this window decides.
        owned_end: One past the last word owned.
    """

    start: int
    end: int
    owned_start: int
    owned_end: int


def plan_windows(lengths: Sequence[int], *, capacity: int, context: int) -> list[Window]:
    """Cover words with windows.

    Args:
        lengths: Sub-words of each word.
        capacity: Sub-words a window may hold.
        context: Sub-words wanted on either side of the owned words, where there are any.

    Returns:
        Windows in order; what they own is a partition of the words. No window holds more than
        `capacity` sub-words, as long as no single word does.

    Raises:
        ValueError: If the context leaves no room to own anything.
    """
    if capacity - 2 * context < 1:
        raise ValueError(f"{context} sub-words of context on both sides do not fit in {capacity}")
    before = [0, *accumulate(lengths)]  # sub-words before each word
    count = len(lengths)
    windows = []
    own_first = 0
    while own_first < count:
        first = own_first
        while first > 0 and before[own_first] - before[first - 1] <= context:
            first -= 1
        own_last = own_first + 1
        if before[count] - before[first] <= capacity:
            own_last = count
        while own_last < count and before[own_last + 1] - before[first] <= capacity - context:
            own_last += 1
        last = own_last
        while last < count and before[last + 1] - before[first] <= capacity:
            last += 1
        windows.append(Window(first, last, own_first, own_last))
        own_first = own_last
    return windows
