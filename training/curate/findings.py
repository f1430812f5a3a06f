"""Findings of an annotation review: differences between annotations and a model's tags.

They are the mismatches of `tagalong.training.evaluation.error_types` with the model as gold: the
annotator's errors if the model were correct.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.document import Document, DroppedAnnotation, Span
from tagalong.ner.tags import IGNORE_INDEX, TaggedWords, TagSet
from tagalong.training.evaluation.error_types import SpanMismatch, find_mismatches

FindingKind = Literal[
    "missed",  # the model finds an entity that is not annotated
    "spurious",  # the model does not find the annotated entity
    "boundary",  # same label, other boundaries
    "type",  # other label
]
MIN_SHOWN_SCORE = 0.001  # lower scores are shown as below it
SIGNIFICANT_DIGITS = 6  # in JSON; not decimals, because the scores of the first are all near 0


@dataclass(frozen=True, slots=True)
class ReviewFinding:
    """An annotation that is probably wrong or missing."""

    document: str  # document id
    kind: FindingKind
    gold: Span | None  # the annotation; None if missed
    suggested: Span | None  # the model's span; None if the annotation is spurious
    text: str  # of both spans together
    context_before: str  # with white space collapsed
    context_after: str
    score: float  # probability from 0 to 1 that the annotation is correct

    @property
    def shown_score(self) -> str:
        """The score with three decimals, or that it is lower."""
        low = self.score < MIN_SHOWN_SCORE
        return f"<{MIN_SHOWN_SCORE}" if low else f"{self.score:.3f}"

    @property
    def spans(self) -> list[Span]:
        """The annotation and the suggestion, without a missing one."""
        return [span for span in (self.gold, self.suggested) if span is not None]

    def span_text(self, span: Span) -> str:
        """Text of the annotation or of the suggestion."""
        first = min(one.start for one in self.spans)
        return self.text[span.start - first : span.end - first]

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON types; null for a missing span."""
        return {
            "document": self.document,
            "kind": self.kind,
            "gold": _span_to_json(self.gold),
            "suggested": _span_to_json(self.suggested),
            "text": self.text,
            "context": self.context_before + self.text + self.context_after,
            "score": _round_significant(self.score),
        }


def _span_to_json(span: Span | None) -> dict[str, Any] | None:
    # Without the score: an annotation has none, and a suggestion is rated by the finding.
    return {"start": span.start, "end": span.end, "label": span.label} if span else None


def _round_significant(value: float) -> float:
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")


@dataclass(frozen=True, slots=True)
class SuspectDocument:
    """A document with findings."""

    document_id: str
    finding_count: int
    suspicion: float  # negative log-likelihood of all its scores, in nats


@dataclass(frozen=True, slots=True)
class ReviewReport:
    """Result of a review."""

    document_count: int
    annotation_count: int  # those that the model's tags can represent
    findings: tuple[ReviewFinding, ...]  # most suspicious first
    suspect_documents: tuple[SuspectDocument, ...]  # most suspicious first
    dropped: tuple[DroppedAnnotation, ...]  # annotations that could not be reviewed

    def summarize(self, model_name: str) -> str:
        """Count findings, annotations and documents in one sentence."""
        return (
            f"{pluralize(len(self.findings), 'finding')} in "
            f"{pluralize(self.annotation_count, 'annotation')} of "
            f"{pluralize(self.document_count, 'document')}, by {model_name}."
        )

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON types, with dropped annotations counted by reason."""
        return {
            "documents": self.document_count,
            "annotations": self.annotation_count,
            "lost": dict(Counter(entry.reason for entry in self.dropped)),
            "findings": [finding.to_json() for finding in self.findings],
            "suspects": [
                {
                    "document": suspect.document_id,
                    "findings": suspect.finding_count,
                    "suspicion": _round_significant(suspect.suspicion),
                }
                for suspect in self.suspect_documents
            ],
        }


def find_differences(
    document: Document, tagged: TaggedWords, tags: Sequence[int], tag_set: TagSet
) -> list[SpanMismatch]:
    """Compare the annotations of a document with a model's tags.

    Adjacent spans of the same label are one boundary difference, because marking the wrong word is
    one slip and not two. Ranges of unknown truth are excluded.

    Returns mismatches in text order; `gold` is the model's span and `predicted` the annotation.
    """
    annotated, suggested = _comparable_spans(tagged, tags, tag_set)
    mismatches = find_mismatches(suggested, annotated)
    for spurious in [one for one in mismatches if one.error_type == "spurious"]:
        adjacent = next(
            (one for one in mismatches if _is_adjacent_pair(document.text, one, spurious)), None
        )
        if adjacent is not None:
            mismatches.remove(adjacent)  # a missed one belongs to one boundary difference only
            mismatches.remove(spurious)
            mismatches.append(SpanMismatch("boundary shifted", adjacent.gold, spurious.predicted))
    return sorted(mismatches, key=lambda mismatch: (mismatch.extent, mismatch.error_type))


def _comparable_spans(
    tagged: TaggedWords, tags: Sequence[int], tag_set: TagSet
) -> tuple[list[Span], list[Span]]:
    """Annotated and model spans, without those in ranges of unknown truth or overlapping them."""
    annotated, suggested = list(tag_set.entities(tagged.tags)), list(tag_set.entities(tags))
    uncertain = [chunk for chunk in suggested if IGNORE_INDEX in tagged.tags[chunk[0] : chunk[1]]]
    certain = [
        (first, last, label)
        for first, last, label in annotated
        # The model's span may reach out of a range of unknown truth, over an annotation.
        if not any(first < other[1] and other[0] < last for other in uncertain)
    ]
    return (
        [_entity_to_span(tagged, chunk) for chunk in certain],
        [_entity_to_span(tagged, chunk) for chunk in suggested if chunk not in uncertain],
    )


def _entity_to_span(tagged: TaggedWords, chunk: tuple[int, int, str]) -> Span:
    first, last, label = chunk
    return Span(tagged.words[first][0], tagged.words[last - 1][1], label)


def _is_adjacent_pair(text: str, missed: SpanMismatch, spurious: SpanMismatch) -> bool:
    """Model span and annotation have one label and no word between them."""
    suggested, annotated = missed.gold, spurious.predicted
    if missed.error_type != "missed" or suggested is None or annotated is None:
        return False
    first, second = sorted((suggested, annotated))
    return suggested.label == annotated.label and not text[first.end : second.start].strip()
