"""A text with gold and predicted spans drawn in it: cut wherever one begins or ends."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from tagalong.ner.document import Span

MatchKind = Literal["right", "missed", "spurious"]
MATCH_KINDS: tuple[MatchKind, ...] = MatchKind.__args__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class TextSegment:
    """A stretch of text in which no span begins or ends.

    Attributes:
        text: Its characters.
        match_kinds: What the spans are that it is part of, in the order of `MATCH_KINDS`; none outside.
        ending_labels: Label and standing of each span whose last piece it is.
    """

    text: str
    match_kinds: tuple[MatchKind, ...]
    ending_labels: tuple[tuple[str, MatchKind], ...]


def segment_text(text: str, gold: Sequence[Span], predicted: Sequence[Span]) -> list[TextSegment]:
    """Cut a text into pieces.

    Args:
        text: The text.
        gold: What is right; may overlap.
        predicted: What was said; may overlap.

    Returns:
        Pieces whose texts together are the text.
    """
    true, said = set(gold), set(predicted)
    spans = [
        (span, _match_kind(span, true, said)) for span in sorted(true | said, key=_text_order_key)
    ]
    begun: defaultdict[int, list[MatchKind]] = defaultdict(list)
    ended: defaultdict[int, list[tuple[str, MatchKind]]] = defaultdict(list)
    for span, standing in spans:
        begun[span.start].append(standing)
        ended[span.end].append((span.label, standing))
    pieces = []
    covering: Counter[MatchKind] = Counter()
    for start, end in pairwise(sorted({0, len(text), *begun, *ended})):
        covering.update(begun[start])
        covering.subtract(standing for _, standing in ended[start])
        standings = tuple(standing for standing in MATCH_KINDS if covering[standing])
        pieces.append(TextSegment(text[start:end], standings, tuple(ended[end])))
    return pieces


def _match_kind(span: Span, gold: set[Span], predicted: set[Span]) -> MatchKind:
    """What a span is worth."""
    if span not in predicted:
        return "missed"
    return "right" if span in gold else "spurious"


def _text_order_key(span: Span) -> tuple[int, int, str]:
    """Text order."""
    return span.start, span.end, span.label
