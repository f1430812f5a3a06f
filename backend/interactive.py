"""What an annotator draws -> the same entity wherever else it is mentioned.

The annotator's choices are never talked over: nothing is added where something is marked.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush

from backend.marked import Marked
from ner.document import Document, Span
from ner.words import WORD, inside_word, word_offsets

LONGEST = 500  # code points; what is longer is a passage and no mention, and nobody repeats it
DRAWN = 1.0  # the score of a copy: it is the annotator's own choice, not a model's guess
TAKEN = 1  # in the map of a text: a region is there


def complete(document: Document, predicted: Sequence[Span], marked: Marked) -> tuple[Span, ...]:
    """Find what else to mark: other mentions of what was drawn, and what the model found.

    A mention is the very same string, between word boundaries as `ner.words` sees them. A string
    is looked for if it has a letter or digit, no blank at its edges, and at most `LONGEST` code
    points; one that was drawn with two labels is not, because nobody can say which is meant.
    Mentions go before the model's spans, and the longest before shorter ones, then the first. The
    work grows with the length of the text, whatever was drawn.

    Args:
        document: The task's text.
        predicted: The model's spans, in the project's labels.
        marked: What the annotator has marked.

    Returns:
        Spans to add, sorted. None overlaps another one, or a region that exists. Mentions have
        the score `DRAWN`, the model's spans their own.
    """
    taken = bytearray(len(document.text))
    for start, end in _merged((*marked.existing, *marked.drawn), len(taken)):
        taken[start:end] = bytes([TAKEN]) * (end - start)
    found = list(_mentions(document.text, _looked_for(document, marked.drawn), taken))
    for span in sorted(set(predicted), key=lambda span: (span.start - span.end, span)):
        if span.end <= len(taken) and taken.find(TAKEN, span.start, span.end) < 0:
            taken[span.start : span.end] = bytes([TAKEN]) * (span.end - span.start)
            found.append(span)
    return tuple(sorted(found))


def _merged(spans: Iterable[Span], length: int) -> Iterator[tuple[int, int]]:
    """The stretches that spans cover, each once: spans of a whole text may come by the thousand."""
    covered = 0
    for span in sorted(spans):
        start, end = max(span.start, covered), min(span.end, length)
        if start < end:
            yield start, end
            covered = end


def _looked_for(document: Document, drawn: Sequence[Span]) -> dict[str, str]:
    """The strings to look for, with their labels."""
    labels: dict[str, set[str]] = {}
    for span in drawn:
        if span.end - span.start <= LONGEST:
            labels.setdefault(document.covered(span), set()).add(span.label)
    return {
        text: label
        for text, (label, *others) in labels.items()
        if not others and text == text.strip() and any(map(str.isalnum, text))
    }


def _mentions(text: str, labels: Mapping[str, str], taken: bytearray) -> Iterator[Span]:
    """Where strings are mentioned in free stretches of a text; what is found is taken then."""
    if not labels:
        return
    strings = _Strings(labels)
    queue: list[tuple[int, int, str]] = []
    for start, end in word_offsets(text):
        if text[start:end] in strings.first_words:
            queue += _candidates(strings, text, start, len(text))
    heapify(queue)
    while queue:
        _, start, string = heappop(queue)
        end = start + len(string)
        blocked = taken.find(TAKEN, start, end)
        if blocked < 0:
            taken[start:end] = bytes([TAKEN]) * len(string)
            yield Span(start, end, labels[string], DRAWN)
        else:
            for shorter in _candidates(strings, text, start, blocked):
                heappush(queue, shorter)


def _candidates(
    strings: "_Strings", text: str, start: int, limit: int
) -> Iterator[tuple[int, int, str]]:
    """The longest string between a start and a limit, if any, so that the longest sorts first."""
    string = strings.longest_at(text, start, limit)
    if string is not None:
        yield -len(string), start, string


class _Strings:
    """Strings that can be found at a place in a time that does not depend on how many they are.

    All that begin like the text lie behind each other in their order, so one search finds the
    last of them, and from there on each is the start of the one before.
    """

    def __init__(self, strings: Iterable[str]) -> None:
        self._sorted = sorted(strings)
        self._shorter: dict[str, str | None] = {}
        starts: list[str] = []
        for string in self._sorted:
            while starts and not string.startswith(starts[-1]):
                starts.pop()
            self._shorter[string] = starts[-1] if starts else None
            starts.append(string)
        self.first_words = {match[0] for match in map(WORD.match, self._sorted) if match}

    def longest_at(self, text: str, start: int, limit: int) -> str | None:
        """The longest string that begins at a place, ends before a limit, and cuts no word."""
        ahead = text[start : min(limit, start + LONGEST)]
        place = bisect_right(self._sorted, ahead)
        string = self._sorted[place - 1] if place else None
        while string is not None and (
            not ahead.startswith(string) or inside_word(text, start + len(string))
        ):
            string = self._shorter[string]
        return string
