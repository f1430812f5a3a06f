"""Further mentions of the spans that an annotator draws.

Nothing is added where the annotator has marked something.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import islice

from tagalong.backend.label_studio.context import MAX_MENTION_CHARACTERS, InteractiveContext
from tagalong.ner.document import Document, Span
from tagalong.ner.words import is_inside_word, trim_to_words, word_offsets

MAX_STRINGS = 20  # of one action, which draws one; run time grows with nested ones
MAX_MENTIONS = 5_000  # the editor stops to respond before
MENTION_SCORE = 1.0  # a copy of the annotator's choice, not a model's guess
OCCUPIED = 1  # byte in the map of a text: a region covers this code point


def suggest_spans(
    document: Document, predicted: Sequence[Span], context: InteractiveContext
) -> tuple[Span, ...]:
    """Find other mentions of the drawn spans, and add the model's spans.

    A mention is the same string between word boundaries. A drawn span is trimmed first, as in
    exports. Its string is searched if it has a letter or digit, at most `MAX_MENTION_CHARACTERS`
    code points, and one label. Mentions win over the model's spans, longer ones over shorter ones,
    then earlier ones over later ones. At most `MAX_STRINGS` are searched, and `MAX_MENTIONS`
    returned. Run time is linear in the length of the text. All labels are the project's.

    Returns:
        Spans to add, sorted. None overlaps another one or an existing region. Mentions have the
        score `MENTION_SCORE`.
    """
    occupied = bytearray(len(document.text))
    for start, end in _merge_ranges((*context.existing_spans, *context.new_spans), len(occupied)):
        occupied[start:end] = bytes([OCCUPIED]) * (end - start)
    strings = _search_strings(document, context.new_spans)
    suggested = [*islice(_find_mentions(document.text, strings, occupied), MAX_MENTIONS)]
    for span in sorted(set(predicted), key=lambda span: (span.start - span.end, span)):
        if span.end <= len(occupied) and occupied.find(OCCUPIED, span.start, span.end) < 0:
            occupied[span.start : span.end] = bytes([OCCUPIED]) * (span.end - span.start)
            suggested.append(span)
    return tuple(sorted(suggested))


def _merge_ranges(spans: Iterable[Span], length: int) -> Iterator[tuple[int, int]]:
    # The covered ranges without overlaps: thousands of spans may cover the whole text.
    covered = 0
    for span in sorted(spans):
        start, end = max(span.start, covered), min(span.end, length)
        if start < end:
            yield start, end
            covered = end


def _search_strings(document: Document, drawn: Sequence[Span]) -> dict[str, str]:
    labels: dict[str, set[str]] = {}
    for span in drawn:
        if span.end - span.start > MAX_MENTION_CHARACTERS:
            continue  # untrimmed: finding the words of thousands of passages takes minutes
        if trimmed := trim_to_words(document.text, span.start, span.end):
            labels.setdefault(document.text[slice(*trimmed)], set()).add(span.label)
    strings = {
        text: label
        for text, (label, *others) in labels.items()
        if not others and any(map(str.isalnum, text))
    }
    return dict(islice(strings.items(), MAX_STRINGS))


def _find_mentions(text: str, labels: Mapping[str, str], occupied: bytearray) -> Iterator[Span]:
    if not labels:
        return
    words = word_offsets(text)
    strings = _StringIndex(labels, words)
    queue: list[tuple[int, int, str]] = []
    for start, end in words:
        if text[start:end] in strings.first_words:
            queue += _candidates(strings, text, start, len(text))
    heapify(queue)
    while queue:
        _, start, string = heappop(queue)
        end = start + len(string)
        blocked = occupied.find(OCCUPIED, start, end)
        if blocked < 0:
            occupied[start:end] = bytes([OCCUPIED]) * len(string)
            yield Span(start, end, labels[string], MENTION_SCORE)
        else:
            for shorter in _candidates(strings, text, start, blocked):
                heappush(queue, shorter)


def _candidates(
    strings: "_StringIndex", text: str, start: int, limit: int
) -> Iterator[tuple[int, int, str]]:
    # The longest string from `start` up to `limit`, as a heap item that sorts longest first.
    string = strings.find_longest(text, start, limit)
    if string is not None:
        yield -len(string), start, string


class _StringIndex:
    # Finds the longest string at a position with one binary search. In sorted order, the strings
    # that the text starts with form a chain: each is a prefix of a later one. The search finds the
    # last candidate, and `_longest_prefix` leads to the others.

    def __init__(self, strings: Iterable[str], words: Sequence[tuple[int, int]]) -> None:
        self._words = words  # of the text
        self._sorted_strings = sorted(strings)
        self._longest_prefix: dict[str, str | None] = {}
        starts: list[str] = []
        for string in self._sorted_strings:
            while starts and not string.startswith(starts[-1]):
                starts.pop()
            self._longest_prefix[string] = starts[-1] if starts else None
            starts.append(string)
        self.first_words = {
            string[slice(*word_offsets(string)[0])] for string in self._sorted_strings
        }

    def find_longest(self, text: str, start: int, limit: int) -> str | None:
        """The longest string that starts here, ends before the limit, and cuts no word."""
        ahead = text[start : min(limit, start + MAX_MENTION_CHARACTERS)]
        position = bisect_right(self._sorted_strings, ahead)
        string = self._sorted_strings[position - 1] if position else None
        while string is not None and (
            not ahead.startswith(string) or is_inside_word(self._words, start + len(string))
        ):
            string = self._longest_prefix[string]
        return string
