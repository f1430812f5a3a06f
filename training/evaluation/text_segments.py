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
    """A piece of text in which no span starts or ends."""

    text: str
    match_kinds: tuple[MatchKind, ...]  # of the spans around it, in the order of `MATCH_KINDS`
    ending_labels: tuple[tuple[str, MatchKind], ...]  # of spans that end with this segment


def segment_text(text: str, gold: Sequence[Span], predicted: Sequence[Span]) -> list[TextSegment]:
    """Cut a text into segments, in order; spans may overlap."""
    gold_spans, predicted_spans = set(gold), set(predicted)
    starting: defaultdict[int, list[MatchKind]] = defaultdict(list)
    ending: defaultdict[int, list[tuple[str, MatchKind]]] = defaultdict(list)
    for span in sorted(gold_spans | predicted_spans):
        found: MatchKind = "right" if span in gold_spans else "spurious"
        kind = found if span in predicted_spans else "missed"
        starting[span.start].append(kind)
        ending[span.end].append((span.label, kind))
    segments = []
    # A count, because several spans of one kind may cover a segment.
    covering: Counter[MatchKind] = Counter()
    for start, end in pairwise(sorted({0, len(text), *starting, *ending})):
        covering.update(starting[start])
        covering.subtract(kind for _, kind in ending[start])
        kinds = tuple(kind for kind in MATCH_KINDS if covering[kind])
        segments.append(TextSegment(text[start:end], kinds, tuple(ending[end])))
    return segments
