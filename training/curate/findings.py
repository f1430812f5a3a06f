"""What a review finds, and how that is written down."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from ner.document import Lost, Span
from training.curate.differences import Kind

DIGITS = 6  # of a figure in JSON; significant ones, for the first of a queue are all near 0


@dataclass(frozen=True, slots=True)
class Finding:
    """An annotation that looks wrong, or one that looks forgotten.

    Attributes:
        document: Id of its document.
        kind: What seems to be wrong.
        gold: What was drawn, None where it is missed.
        suggested: What the model reads instead, None where gold is spurious.
        text: What both cover together.
        before: What stands before that, a little of it, white space collapsed.
        after: What stands after it, likewise.
        score: Between 0 and 1: the odds that what was drawn is right, as a share. Low is wrong.
    """

    document: str
    kind: Kind
    gold: Span | None
    suggested: Span | None
    text: str
    before: str
    after: str
    score: float

    def covered(self, span: Span) -> str:
        """The text of its annotation, or of its suggestion."""
        starts = [one.start for one in (self.gold, self.suggested) if one is not None]
        return self.text[span.start - min(starts) : span.end - min(starts)]


@dataclass(frozen=True, slots=True)
class Suspect:
    """A document that has findings.

    Attributes:
        document: Its id.
        findings: How many.
        suspicion: The scores of them all as one, in nats: minus the logarithm of their product.
    """

    document: str
    findings: int
    suspicion: float


@dataclass(frozen=True, slots=True)
class Review:
    """What looks wrong in a corpus.

    Attributes:
        documents: How many were looked at.
        annotations: How many spans of theirs.
        findings: The most suspicious first.
        suspects: The documents that have any, the most suspicious first.
        lost: Annotations that could not be looked at.
    """

    documents: int
    annotations: int
    findings: tuple[Finding, ...]
    suspects: tuple[Suspect, ...]
    lost: tuple[Lost, ...]


def review_to_json(found: Review) -> dict[str, Any]:
    """Write a review as one JSON object.

    Args:
        found: Any review.

    Returns:
        All of it, losses counted by reason.
    """
    return {
        "documents": found.documents,
        "annotations": found.annotations,
        "lost": dict(Counter(entry.reason for entry in found.lost)),
        "findings": [finding_to_json(finding) for finding in found.findings],
        "suspects": [
            {
                "document": suspect.document,
                "findings": suspect.findings,
                "suspicion": _shortened(suspect.suspicion),
            }
            for suspect in found.suspects
        ],
    }


def finding_to_json(finding: Finding) -> dict[str, Any]:
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
        "context": finding.before + finding.text + finding.after,
        "score": _shortened(finding.score),
    }


def _span_to_json(span: Span | None) -> dict[str, Any] | None:
    """A span as our JSON lines have it."""
    if span is None:
        return None
    return {"start": span.start, "end": span.end, "label": span.label}


def _shortened(figure: float) -> float:
    """A figure with as many digits as mean anything."""
    return float(f"{figure:.{DIGITS}g}")
