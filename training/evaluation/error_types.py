"""What goes wrong: every span that is not a strict match, sorted by what would put it right.

A wrong gold span and a wrong predicted one that overlap are one mistake, of boundary or of type;
what is left over is missed or spurious. Each wrong span is part of exactly one mistake, so
the mistakes of a kind can be counted, shared out and fixed one by one. The kinds are those of MUC
and SemEval-2013 task 9.1 (Chinchor & Sundheim 1993; Segura-Bedmar et al. 2013), with boundary
mistakes told apart by their direction.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tagalong.ner.document import Document, Span
from tagalong.ner.scoring import SPAN_KEY, SpanKey, jaccard_index, overlapping_spans

ErrorType = Literal[
    "boundary short",  # inside the gold span
    "boundary long",  # the gold span is inside it
    "boundary shifted",  # they cross
    "type",  # the same stretch under another label
    "type and boundary",  # overlap, under another label
    "missed",  # a gold span that no wrong prediction is left for
    "spurious",  # a predicted span that no missed gold span is left for
]
ERROR_TYPES: tuple[ErrorType, ...] = ErrorType.__args__  # type: ignore[attr-defined]
CONTEXT_CHARACTERS = 40  # characters of context shown on either side


@dataclass(frozen=True, slots=True)
class SpanMismatch:
    """One wrong gold span, one wrong predicted span, or one of each that belong together.

    Attributes:
        error_type: One of `ERROR_TYPES`.
        gold: What should have been said, None where it is spurious.
        predicted: What was said, None where it is missed.
    """

    error_type: ErrorType
    gold: Span | None
    predicted: Span | None

    @property
    def extent(self) -> tuple[int, int]:
        """Start and end, in code points, of what it takes to see the mistake."""
        spans = [span for span in (self.gold, self.predicted) if span is not None]
        return min(span.start for span in spans), max(span.end for span in spans)


@dataclass(frozen=True, slots=True)
class ErrorExample:
    """A mistake as a reader sees it, and how often the very same one was made.

    Attributes:
        gold: Label and text of the gold span, None where there is none.
        predicted: Label and text of the predicted span, None where there is none.
        occurrences: How often this text was taken for that one.
        document_id: Id of the first document where it was.
        context: The text around it there, white space collapsed.
    """

    gold: tuple[str, str] | None
    predicted: tuple[str, str] | None
    occurrences: int
    document_id: str
    context: str


@dataclass(frozen=True, slots=True)
class ErrorSummary:
    """All mistakes of one kind.

    Attributes:
        count: How many.
        examples: The most frequent ones, the most frequent first.
    """

    count: int
    examples: tuple[ErrorExample, ...]


def find_mismatches(gold: Iterable[Span], predicted: Iterable[Span]) -> list[SpanMismatch]:
    """Sort the wrong spans of one document.

    Pairs are made one to one: same label first, then the closest (Jaccard index), then text order.

    Args:
        gold: In any order, overlapping or not.
        predicted: Likewise.

    Returns:
        Mistakes in text order.
    """
    true, said = set(gold), set(predicted)
    missed = {SPAN_KEY(span): span for span in sorted(true - said)}
    spurious = {SPAN_KEY(span): span for span in sorted(said - true)}
    near = overlapping_spans(list(missed), sorted(spurious, key=lambda key: key[1]))
    candidates = sorted(
        (one[0] != other[0], -jaccard_index(one, other), one, other)
        for one, others in near.items()
        for other in others
    )
    mistakes = []
    for *_, one, other in candidates:
        if one in missed and other in spurious:
            pair = missed.pop(one), spurious.pop(other)
            mistakes.append(SpanMismatch(_classify_pair(one, other), *pair))
    mistakes += [SpanMismatch("missed", span, None) for span in missed.values()]
    mistakes += [SpanMismatch("spurious", None, span) for span in spurious.values()]
    return sorted(mistakes, key=lambda mistake: (mistake.extent, mistake.error_type))


def _classify_pair(gold: SpanKey, predicted: SpanKey) -> ErrorType:
    """What is wrong with a predicted span that overlaps a gold one."""
    same_stretch = gold[1:] == predicted[1:]
    if gold[0] != predicted[0]:
        return "type" if same_stretch else "type and boundary"
    if gold[1] <= predicted[1] and predicted[2] <= gold[2]:
        return "boundary short"
    if predicted[1] <= gold[1] and gold[2] <= predicted[2]:
        return "boundary long"
    return "boundary shifted"


def summarize_errors(
    mismatches: Sequence[tuple[Document, SpanMismatch]], *, examples: int = 5
) -> Mapping[ErrorType, ErrorSummary]:
    """Count mistakes by kind, and show the most frequent of each.

    Args:
        mismatches: Each with the document it was made in.
        examples: How many to show of each kind, at most.

    Returns:
        Every kind, in the order of `ERROR_TYPES`, those never made included.
    """
    alike: dict[ErrorType, dict[object, list[tuple[Document, SpanMismatch]]]] = {
        kind: {} for kind in ERROR_TYPES
    }
    for document, mistake in mismatches:
        wording = (
            _label_and_text(document, mistake.gold),
            _label_and_text(document, mistake.predicted),
        )
        alike[mistake.error_type].setdefault(wording, []).append((document, mistake))
    summary = {}
    for kind, groups in alike.items():
        frequent = sorted(groups.values(), key=len, reverse=True)[:examples]
        summary[kind] = ErrorSummary(
            count=sum(map(len, groups.values())),
            examples=tuple(_build_example(*group[0], times=len(group)) for group in frequent),
        )
    return summary


def _label_and_text(document: Document, span: Span | None) -> tuple[str, str] | None:
    """Label and text of a span, if there is one."""
    return None if span is None else (span.label, document.span_text(span))


def _build_example(document: Document, mistake: SpanMismatch, *, times: int) -> ErrorExample:
    """Write a mistake down so that it can be understood without the document."""
    start, end = mistake.extent
    return ErrorExample(
        gold=_label_and_text(document, mistake.gold),
        predicted=_label_and_text(document, mistake.predicted),
        occurrences=times,
        document_id=document.id,
        context=" ".join(
            document.text[max(0, start - CONTEXT_CHARACTERS) : end + CONTEXT_CHARACTERS].split()
        ),
    )
