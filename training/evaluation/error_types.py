"""Error types: every span without a strict match, classified by its correction.

An unmatched gold span and an overlapping unmatched prediction are one error, of boundary or of
type. The others are missed or spurious. Each unmatched span belongs to exactly one error, so errors
can be counted and corrected one by one. The types are those of MUC and SemEval-2013 task 9.1
(Chinchor & Sundheim 1993; Segura-Bedmar et al. 2013), with three directions of boundary errors.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tagalong.ner.document import Document, Span
from tagalong.ner.scoring import SPAN_KEY, SpanKey, jaccard_index, overlapping_spans

ErrorType = Literal[
    "boundary short",  # the prediction is inside the gold span
    "boundary long",  # the gold span is inside the prediction
    "boundary shifted",  # they cross
    "type",  # equal offsets, another label
    "type and boundary",  # overlap, another label
    "missed",  # a gold span without an overlapping unmatched prediction
    "spurious",  # a prediction without an overlapping unmatched gold span
]
ERROR_TYPES: tuple[ErrorType, ...] = ErrorType.__args__  # type: ignore[attr-defined]
CONTEXT_CHARACTERS = 40  # on each side of an example


@dataclass(frozen=True, slots=True)
class SpanMismatch:
    """An unmatched gold span, an unmatched prediction, or an overlapping pair of them.

    Attributes:
        gold: None if spurious.
        predicted: None if missed.
    """

    error_type: ErrorType
    gold: Span | None
    predicted: Span | None

    @property
    def extent(self) -> tuple[int, int]:
        """Start and end, in code points, of both spans together."""
        spans = [span for span in (self.gold, self.predicted) if span is not None]
        return min(span.start for span in spans), max(span.end for span in spans)


@dataclass(frozen=True, slots=True)
class ErrorExample:
    """An error with its context, and the number of identical errors.

    Attributes:
        gold: Label and text of the gold span, if any.
        predicted: Label and text of the predicted span, if any.
        document_id: Document of the first occurrence.
        context: Text around the first occurrence, with white space collapsed.
    """

    gold: tuple[str, str] | None
    predicted: tuple[str, str] | None
    occurrences: int
    document_id: str
    context: str


@dataclass(frozen=True, slots=True)
class ErrorSummary:
    """All errors of one type.

    Attributes:
        examples: Most frequent first.
    """

    count: int
    examples: tuple[ErrorExample, ...]


def find_mismatches(gold: Iterable[Span], predicted: Iterable[Span]) -> list[SpanMismatch]:
    """Classify the unmatched spans of one document.

    Spans are paired one to one: same label first, then highest Jaccard index, then text order.

    Args:
        gold: In any order; spans may overlap.
        predicted: In any order; spans may overlap.

    Returns:
        Mismatches in text order.
    """
    gold_spans, predicted_spans = set(gold), set(predicted)
    missed = {SPAN_KEY(span): span for span in sorted(gold_spans - predicted_spans)}
    spurious = {SPAN_KEY(span): span for span in sorted(predicted_spans - gold_spans)}
    overlapping = overlapping_spans(list(missed), sorted(spurious, key=lambda key: key[1]))
    candidates = sorted(
        (one[0] != other[0], -jaccard_index(one, other), one, other)
        for one, others in overlapping.items()
        for other in others
    )
    found = []
    for *_, one, other in candidates:
        if one in missed and other in spurious:
            pair = missed.pop(one), spurious.pop(other)
            found.append(SpanMismatch(_classify_pair(one, other), *pair))
    found += [SpanMismatch("missed", span, None) for span in missed.values()]
    found += [SpanMismatch("spurious", None, span) for span in spurious.values()]
    return sorted(found, key=lambda mismatch: (mismatch.extent, mismatch.error_type))


def _classify_pair(gold: SpanKey, predicted: SpanKey) -> ErrorType:
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
    """Count errors by type, with the most frequent examples.

    Args:
        mismatches: Mismatches, each with its document.
        examples: Maximum number of examples per type.

    Returns:
        All of `ERROR_TYPES` in order, including those without errors.
    """
    groups_by_type: dict[ErrorType, dict[object, list[tuple[Document, SpanMismatch]]]] = {
        error_type: {} for error_type in ERROR_TYPES
    }
    for document, mismatch in mismatches:
        texts = (
            _label_and_text(document, mismatch.gold),
            _label_and_text(document, mismatch.predicted),
        )
        groups_by_type[mismatch.error_type].setdefault(texts, []).append((document, mismatch))
    summary = {}
    for error_type, groups in groups_by_type.items():
        largest = sorted(groups.values(), key=len, reverse=True)[:examples]
        summary[error_type] = ErrorSummary(
            count=sum(map(len, groups.values())),
            examples=tuple(_build_example(*group[0], occurrences=len(group)) for group in largest),
        )
    return summary


def _label_and_text(document: Document, span: Span | None) -> tuple[str, str] | None:
    return None if span is None else (span.label, document.span_text(span))


def _build_example(document: Document, mismatch: SpanMismatch, *, occurrences: int) -> ErrorExample:
    start, end = mismatch.extent
    return ErrorExample(
        gold=_label_and_text(document, mismatch.gold),
        predicted=_label_and_text(document, mismatch.predicted),
        occurrences=occurrences,
        document_id=document.id,
        context=" ".join(
            document.text[max(0, start - CONTEXT_CHARACTERS) : end + CONTEXT_CHARACTERS].split()
        ),
    )
