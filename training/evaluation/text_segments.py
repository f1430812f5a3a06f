"""Cut a text at the ends of its gold and predicted spans, for display."""

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
    """A piece of text in which no span starts or ends.

    Attributes:
        match_kinds: Kinds of the spans around it, in the order of `MATCH_KINDS`; empty outside
            spans.
        ending_labels: Label and kind of each span that ends with this segment.
    """

    text: str
    match_kinds: tuple[MatchKind, ...]
    ending_labels: tuple[tuple[str, MatchKind], ...]


def segment_text(text: str, gold: Sequence[Span], predicted: Sequence[Span]) -> list[TextSegment]:
    """Cut a text into segments.

    Args:
        text: Text of a document.
        gold: Gold spans, which may overlap.
        predicted: Predicted spans, which may overlap.

    Returns:
        Segments in order; their texts joined are `text`.
    """
    gold_spans, predicted_spans = set(gold), set(predicted)
    spans = [
        (span, _match_kind(span, gold_spans, predicted_spans))
        for span in sorted(gold_spans | predicted_spans, key=_text_order_key)
    ]
    starting: defaultdict[int, list[MatchKind]] = defaultdict(list)
    ending: defaultdict[int, list[tuple[str, MatchKind]]] = defaultdict(list)
    for span, kind in spans:
        starting[span.start].append(kind)
        ending[span.end].append((span.label, kind))
    segments = []
    covering: Counter[MatchKind] = Counter()
    for start, end in pairwise(sorted({0, len(text), *starting, *ending})):
        covering.update(starting[start])
        covering.subtract(kind for _, kind in ending[start])
        kinds = tuple(kind for kind in MATCH_KINDS if covering[kind])
        segments.append(TextSegment(text[start:end], kinds, tuple(ending[end])))
    return segments


def _match_kind(span: Span, gold: set[Span], predicted: set[Span]) -> MatchKind:
    if span not in predicted:
        return "missed"
    return "right" if span in gold else "spurious"


def _text_order_key(span: Span) -> tuple[int, int, str]:
    return span.start, span.end, span.label
