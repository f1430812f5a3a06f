"""A text with gold and predicted spans drawn in it: cut wherever one begins or ends."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from ner.document import Span

Standing = Literal["right", "missed", "spurious"]
ORDER: tuple[Standing, ...] = Standing.__args__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text in which no span begins or ends.

    Attributes:
        text: Its characters.
        standings: What the spans are that it is part of, in the order of `ORDER`; none outside.
        ends: Label and standing of each span whose last piece it is.
    """

    text: str
    standings: tuple[Standing, ...]
    ends: tuple[tuple[str, Standing], ...]


def cut(text: str, gold: Sequence[Span], predicted: Sequence[Span]) -> list[Piece]:
    """Cut a text into pieces.

    Args:
        text: The text.
        gold: What is right; may overlap.
        predicted: What was said; may overlap.

    Returns:
        Pieces whose texts together are the text.
    """
    true, said = set(gold), set(predicted)
    spans = [(span, _standing(span, true, said)) for span in sorted(true | said, key=_place)]
    begun: defaultdict[int, list[Standing]] = defaultdict(list)
    ended: defaultdict[int, list[tuple[str, Standing]]] = defaultdict(list)
    for span, standing in spans:
        begun[span.start].append(standing)
        ended[span.end].append((span.label, standing))
    pieces = []
    covering: Counter[Standing] = Counter()
    for start, end in pairwise(sorted({0, len(text), *begun, *ended})):
        covering.update(begun[start])
        covering.subtract(standing for _, standing in ended[start])
        standings = tuple(standing for standing in ORDER if covering[standing])
        pieces.append(Piece(text[start:end], standings, tuple(ended[end])))
    return pieces


def _standing(span: Span, gold: set[Span], predicted: set[Span]) -> Standing:
    """What a span is worth."""
    if span not in predicted:
        return "missed"
    return "right" if span in gold else "spurious"


def _place(span: Span) -> tuple[int, int, str]:
    """Text order."""
    return span.start, span.end, span.label
