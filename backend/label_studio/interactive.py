"""What an annotator draws -> the same entity wherever else it is mentioned.

The annotator's choices are never talked over: nothing is added where something is marked.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush

from tagalong.backend.label_studio.context import InteractiveContext
from tagalong.ner.document import Document, Span
from tagalong.ner.words import WORD_PATTERN, is_inside_word, word_offsets

MAX_MENTION_CHARACTERS = (
    500  # code points; what is longer is a passage and no mention, and nobody repeats it
)
MENTION_SCORE = 1.0  # the score of a copy: it is the annotator's own choice, not a model's guess
OCCUPIED = 1  # in the map of a text: a region is there


def suggest_spans(
    document: Document, predicted: Sequence[Span], context: InteractiveContext
) -> tuple[Span, ...]:
    """Find what else to mark: other mentions of what was drawn, and what the model found.

    A mention is the very same string, between word boundaries as `tagalong.ner.words` sees them. A string
    is looked for if it has a letter or digit, no blank at its edges, and at most `MAX_MENTION_CHARACTERS` code
    points; one that was drawn with two labels is not, because nobody can say which is meant.
    Mentions go before the model's spans, and the longest before shorter ones, then the first. The
    work grows with the length of the text, whatever was drawn.

    Args:
        document: The task's text.
        predicted: The model's spans, in the project's labels.
        context: What the annotator has marked.

    Returns:
        Spans to add, sorted. None overlaps another one, or a region that exists. Mentions have
        the score `MENTION_SCORE`, the model's spans their own.
    """
    taken = bytearray(len(document.text))
    for start, end in _merge_ranges((*context.existing_spans, *context.new_spans), len(taken)):
        taken[start:end] = bytes([OCCUPIED]) * (end - start)
    found = list(_find_mentions(document.text, _search_strings(document, context.new_spans), taken))
    for span in sorted(set(predicted), key=lambda span: (span.start - span.end, span)):
        if span.end <= len(taken) and taken.find(OCCUPIED, span.start, span.end) < 0:
            taken[span.start : span.end] = bytes([OCCUPIED]) * (span.end - span.start)
            found.append(span)
    return tuple(sorted(found))


def _merge_ranges(spans: Iterable[Span], length: int) -> Iterator[tuple[int, int]]:
    """The stretches that spans cover, each once: spans of a whole text may come by the thousand."""
    covered = 0
    for span in sorted(spans):
        start, end = max(span.start, covered), min(span.end, length)
        if start < end:
            yield start, end
            covered = end


def _search_strings(document: Document, drawn: Sequence[Span]) -> dict[str, str]:
    """The strings to look for, with their labels."""
    labels: dict[str, set[str]] = {}
    for span in drawn:
        if span.end - span.start <= MAX_MENTION_CHARACTERS:
            labels.setdefault(document.span_text(span), set()).add(span.label)
    return {
        text: label
        for text, (label, *others) in labels.items()
        if not others and text == text.strip() and any(map(str.isalnum, text))
    }


def _find_mentions(text: str, labels: Mapping[str, str], taken: bytearray) -> Iterator[Span]:
    """Where strings are mentioned in free stretches of a text; what is found is taken then."""
    if not labels:
        return
    strings = _StringIndex(labels)
    queue: list[tuple[int, int, str]] = []
    for start, end in word_offsets(text):
        if text[start:end] in strings.first_words:
            queue += _candidates(strings, text, start, len(text))
    heapify(queue)
    while queue:
        _, start, string = heappop(queue)
        end = start + len(string)
        blocked = taken.find(OCCUPIED, start, end)
        if blocked < 0:
            taken[start:end] = bytes([OCCUPIED]) * len(string)
            yield Span(start, end, labels[string], MENTION_SCORE)
        else:
            for shorter in _candidates(strings, text, start, blocked):
                heappush(queue, shorter)


def _candidates(
    strings: "_StringIndex", text: str, start: int, limit: int
) -> Iterator[tuple[int, int, str]]:
    """The longest string between a start and a limit, if any, so that the longest sorts first."""
    string = strings.find_longest(text, start, limit)
    if string is not None:
        yield -len(string), start, string


class _StringIndex:
    """Strings that can be found at a place in a time that does not depend on how many they are.

    All that begin like the text lie behind each other in their order, so one search finds the
    last of them, and from there on each is the start of the one before.
    """

    def __init__(self, strings: Iterable[str]) -> None:
        self._sorted_strings = sorted(strings)
        self._longest_prefix: dict[str, str | None] = {}
        starts: list[str] = []
        for string in self._sorted_strings:
            while starts and not string.startswith(starts[-1]):
                starts.pop()
            self._longest_prefix[string] = starts[-1] if starts else None
            starts.append(string)
        self.first_words = {
            match[0] for match in map(WORD_PATTERN.match, self._sorted_strings) if match
        }

    def find_longest(self, text: str, start: int, limit: int) -> str | None:
        """The longest string that begins at a place, ends before a limit, and cuts no word."""
        ahead = text[start : min(limit, start + MAX_MENTION_CHARACTERS)]
        place = bisect_right(self._sorted_strings, ahead)
        string = self._sorted_strings[place - 1] if place else None
        while string is not None and (
            not ahead.startswith(string) or is_inside_word(text, start + len(string))
        ):
            string = self._longest_prefix[string]
        return string
