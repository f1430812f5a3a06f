"""What a review finds, and how that is written down."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from tagalong.ner.document import DroppedAnnotation, Span
from tagalong.training.curate.differences import FindingKind

SIGNIFICANT_DIGITS = (
    6  # of a figure in JSON; significant ones, for the first of a queue are all near 0
)


@dataclass(frozen=True, slots=True)
class ReviewFinding:
    """An annotation that looks wrong, or one that looks forgotten.

    Attributes:
        document: Id of its document.
        kind: What seems to be wrong.
        gold: What was drawn, None where it is missed.
        suggested: What the model reads instead, None where gold is spurious.
        text: What both cover together.
        context_before: What stands before that, a little of it, white space collapsed.
        context_after: What stands after it, likewise.
        score: Between 0 and 1: the odds that what was drawn is right, as a share. Low is wrong.
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
        """The text of its annotation, or of its suggestion."""
        starts = [one.start for one in (self.gold, self.suggested) if one is not None]
        return self.text[span.start - min(starts) : span.end - min(starts)]


@dataclass(frozen=True, slots=True)
class SuspectDocument:
    """A document that has findings.

    Attributes:
        document_id: Its id.
        finding_count: How many.
        suspicion: The scores of them all as one, in nats: minus the logarithm of their product.
    """

    document_id: str
    finding_count: int
    suspicion: float


@dataclass(frozen=True, slots=True)
class ReviewReport:
    """What looks wrong in a corpus.

    Attributes:
        document_count: How many were looked at.
        annotation_count: How many spans of theirs.
        findings: The most suspicious first.
        suspect_documents: The documents that have any, the most suspicious first.
        dropped: Annotations that could not be looked at.
    """

    document_count: int
    annotation_count: int
    findings: tuple[ReviewFinding, ...]
    suspect_documents: tuple[SuspectDocument, ...]
    dropped: tuple[DroppedAnnotation, ...]


def review_to_json(review_report: ReviewReport) -> dict[str, Any]:
    """Write a review as one JSON object.

    Args:
        review_report: Any review.

    Returns:
        All of it, losses counted by reason.
    """
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
    """Write a finding as a JSON object, or a line of a file of them.

    Args:
        finding: Any finding.

    Returns:
        All of it; null where a span is not there.
    """
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
    """A span as our JSON lines have it."""
    if span is None:
        return None
    return {"start": span.start, "end": span.end, "label": span.label}


def _round_significant(figure: float) -> float:
    """A figure with as many digits as mean anything."""
    return float(f"{figure:.{SIGNIFICANT_DIGITS}g}")
