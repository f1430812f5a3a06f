"""Error types: every span without a strict match, classified by its correction.

An unmatched gold span and an overlapping unmatched prediction are one error, of boundary or of
type. The others are missed or spurious. Each unmatched span belongs to exactly one error, so errors
can be counted and corrected one by one. The types are those of MUC and SemEval-2013 task 9.1
(Chinchor & Sundheim 1993; Segura-Bedmar et al. 2013), with three directions of boundary errors.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tagalong.ner.document import Document, Prediction, Span
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
    """An unmatched gold span, an unmatched prediction, or an overlapping pair of them."""

    error_type: ErrorType
    gold: Span | None  # None if spurious
    predicted: Span | None  # None if missed

    @property
    def extent(self) -> tuple[int, int]:
        """Start and end, in code points, of both spans together."""
        spans = [span for span in (self.gold, self.predicted) if span is not None]
        return min(span.start for span in spans), max(span.end for span in spans)


@dataclass(frozen=True, slots=True)
class Quote:
    """Label and text of a span."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class ErrorExample:
    """An error with its context; fields are named as in JSON."""

    gold: Quote | None
    predicted: Quote | None
    times: int  # number of errors with the same quotes
    document: str  # id of the first one's document
    context: str  # text around the first one, with white space collapsed


@dataclass(frozen=True, slots=True)
class ErrorSummary:
    """Number of errors of one type, and examples, the most frequent first."""

    count: int
    examples: tuple[ErrorExample, ...]


def find_mismatches(gold: Iterable[Span], predicted: Iterable[Span]) -> list[SpanMismatch]:
    """Classify the unmatched spans of one document, in text order.

    Spans come in any order and may overlap. They are paired one to one: same label first, then
    highest Jaccard index, then text order.
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
    gold: Sequence[Document], predicted: Sequence[Prediction], *, examples: int
) -> Mapping[ErrorType, ErrorSummary]:
    """Count errors by type, with the most frequent examples of each.

    Returns all of `ERROR_TYPES` in order, including those without errors.
    """
    counts: Counter[tuple[ErrorType, Quote | None, Quote | None]] = Counter()
    first_places: dict[object, tuple[Document, tuple[int, int]]] = {}
    for document, prediction in zip(gold, predicted, strict=True):
        for mismatch in find_mismatches(document.spans, prediction.spans):
            gold_quote, predicted_quote = (
                None if span is None else Quote(span.label, document.span_text(span))
                for span in (mismatch.gold, mismatch.predicted)
            )
            error = mismatch.error_type, gold_quote, predicted_quote
            counts[error] += 1
            first_places.setdefault(error, (document, mismatch.extent))
    summary = {}
    for error_type in ERROR_TYPES:
        of_type = [item for item in counts.most_common() if item[0][0] == error_type]
        summary[error_type] = ErrorSummary(
            count=sum(times for _, times in of_type),
            examples=tuple(
                ErrorExample(*error[1:], times, *_quote_context(*first_places[error]))
                for error, times in of_type[:examples]
            ),
        )
    return summary


def _quote_context(document: Document, extent: tuple[int, int]) -> tuple[str, str]:
    """Document id and surrounding text of an error."""
    start, end = extent
    context = document.text[max(0, start - CONTEXT_CHARACTERS) : end + CONTEXT_CHARACTERS]
    return document.id, " ".join(context.split())
