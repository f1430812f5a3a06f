"""Findings of an annotation review, and their JSON form."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from tagalong.ner.document import DroppedAnnotation, Span
from tagalong.training.curate.differences import FindingKind

SIGNIFICANT_DIGITS = (
    6  # of a value in JSON; significant ones, for the first of a queue are all near 0
)


@dataclass(frozen=True, slots=True)
class ReviewFinding:
    """An annotation that is probably wrong or missing.

    Attributes:
        document: Document id.
        gold: The annotation; None if missed.
        suggested: The model's span; None if the annotation is spurious.
        text: Text of both spans together.
        context_before: Text before, with white space collapsed.
        context_after: Text after, with white space collapsed.
        score: Probability from 0 to 1 that the annotation is correct.
    """

    document: str
    kind: FindingKind
    gold: Span | None
    suggested: Span | None
    text: str
    context_before: str
    context_after: str
    score: float

    def span_text(self, span: Span) -> str:
        """Text of the annotation or of the suggestion."""
        starts = [one.start for one in (self.gold, self.suggested) if one is not None]
        return self.text[span.start - min(starts) : span.end - min(starts)]


@dataclass(frozen=True, slots=True)
class SuspectDocument:
    """A document with findings.

    Attributes:
        suspicion: Negative log-likelihood of all its scores, in nats.
    """

    document_id: str
    finding_count: int
    suspicion: float


@dataclass(frozen=True, slots=True)
class ReviewReport:
    """Result of a review.

    Attributes:
        document_count: Number of reviewed documents.
        annotation_count: Number of reviewed spans.
        findings: Most suspicious first.
        suspect_documents: Documents with findings, most suspicious first.
        dropped: Annotations that could not be reviewed.
    """

    document_count: int
    annotation_count: int
    findings: tuple[ReviewFinding, ...]
    suspect_documents: tuple[SuspectDocument, ...]
    dropped: tuple[DroppedAnnotation, ...]


def review_to_json(review_report: ReviewReport) -> dict[str, Any]:
    """Convert a review to JSON types, with dropped annotations counted by reason."""
    return {
        "documents": review_report.document_count,
        "annotations": review_report.annotation_count,
        "lost": dict(Counter(entry.reason for entry in review_report.dropped)),
        "findings": [finding_to_json(finding) for finding in review_report.findings],
        "suspects": [
            {
                "document": suspect.document_id,
                "findings": suspect.finding_count,
                "suspicion": _round_significant(suspect.suspicion),
            }
            for suspect in review_report.suspect_documents
        ],
    }


def finding_to_json(finding: ReviewFinding) -> dict[str, Any]:
    """Convert a finding to JSON types; null for a missing span."""
    return {
        "document": finding.document,
        "kind": finding.kind,
        "gold": _span_to_json(finding.gold),
        "suggested": _span_to_json(finding.suggested),
        "text": finding.text,
        "context": finding.context_before + finding.text + finding.context_after,
        "score": _round_significant(finding.score),
    }


def _span_to_json(span: Span | None) -> dict[str, Any] | None:
    if span is None:
        return None
    return {"start": span.start, "end": span.end, "label": span.label}


def _round_significant(value: float) -> float:
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
