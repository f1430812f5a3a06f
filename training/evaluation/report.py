"""What an evaluation found, and how it is written down: one JSON object, two files.

A `EvaluationReport` holds counts and intervals; every ratio is drawn from them when it is written. The JSON
object is the product, Markdown and tables are views of it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from tagalong.backend.storage.atomic_files import write_atomically
from tagalong.ner.document import DroppedAnnotation, DropReason, Span
from tagalong.ner.errors import OutputError
from tagalong.ner.scoring import Counts, LengthBucket
from tagalong.training.evaluation.calibration import CalibrationMetrics
from tagalong.training.evaluation.edit_effort import EditEffort
from tagalong.training.evaluation.error_types import ErrorExample, ErrorSummary, ErrorType

Interval = tuple[float, float]

REPORT_FILENAMES = ("report.md", "report.html", "report.json")  # of a report's files


@dataclass(frozen=True, slots=True)
class CountsWithInterval:
    """Counts, and how sure their F1 is.

    Attributes:
        counts: Of all documents.
        interval: 95 % bootstrap interval of F1, over documents.
    """

    counts: Counts
    interval: Interval


@dataclass(frozen=True, slots=True)
class StratumScores:
    """One set of spans, compared both ways."""

    strict: CountsWithInterval
    relaxed: CountsWithInterval


@dataclass(frozen=True, slots=True)
class F1Difference:
    """Two systems on the same documents.

    Attributes:
        other_f1: Of the other system.
        other_f1_interval: 95 % bootstrap interval of that.
        difference: F1 of this system less that of the other.
        interval: 95 % bootstrap interval of the difference, on the same resamples for both.
        p_value: Two-sided, as `tagalong.training.evaluation.bootstrap.compute_p_value` defines it.
    """

    other_f1: float
    other_f1_interval: Interval
    difference: float
    interval: Interval
    p_value: float


@dataclass(frozen=True, slots=True)
class StratumDifferences:
    """Two systems, compared both ways."""

    strict: F1Difference
    relaxed: F1Difference


@dataclass(frozen=True, slots=True)
class SystemComparison:
    """Two systems, overall and by their strata.

    Attributes:
        model: Version of the other system.
        overall: All spans.
        by_label: Spans of one label.
        by_length: Spans of one length.
        effort: What it takes to put the other one's predictions right.
    """

    model: str
    overall: StratumDifferences
    by_label: Mapping[str, StratumDifferences]
    by_length: Mapping[LengthBucket, StratumDifferences]
    effort: EditEffort


@dataclass(frozen=True, slots=True)
class DroppedSummary:
    """Annotations that could not be kept somewhere on the way.

    Attributes:
        total: How many.
        by_reason: How many of each reason that occurs, the most frequent first.
        examples: A few of each reason.
    """

    total: int
    by_reason: Mapping[DropReason, int]
    examples: tuple[DroppedAnnotation, ...]


@dataclass(frozen=True, slots=True)
class DocumentView:
    """A document with both sides of it, to be shown whole.

    Attributes:
        document_id: Its id.
        text: Its text.
        gold: What is right.
        predicted: What was said.
        edit_actions: That it takes to put it right.
    """

    document_id: str
    text: str
    gold: tuple[Span, ...]
    predicted: tuple[Span, ...]
    edit_actions: int


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """Everything an evaluation found.

    Attributes:
        model: The version, or versions, that the predictions name.
        gold: What it was judged by: a path or a fingerprint.
        documents: How many.
        overall: All spans.
        by_label: In the order of the model's labels, then by name.
        by_length: Recall by gold length, precision by predicted length, in words.
        by_label_and_length: Their cross.
        dropped_by_flat_bio: Gold spans that flat BIO cannot hold. They stay in gold: unfound, they are
            missed.
        dropped_on_import: Annotations that never got into gold: refused while it was read.
        dropped_predictions: What the model could not say.
        errors_by_type: Every wrong span, by kind.
        effort: What it takes to put the predictions right.
        worst_documents: The documents where that takes most, the worst first.
        calibration: None where no predicted span has a score.
        comparison: None where there is no other system.
        unknown_labels: Gold labels that the model does not have, and how many spans have each.
        warnings: What a reader must know before trusting the figures.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
    """

    model: str
    gold: str
    documents: int
    overall: StratumScores
    by_label: Mapping[str, StratumScores]
    by_length: Mapping[LengthBucket, StratumScores]
    by_label_and_length: Mapping[str, Mapping[LengthBucket, StratumScores]]
    dropped_by_flat_bio: DroppedSummary
    dropped_on_import: DroppedSummary
    dropped_predictions: DroppedSummary
    errors_by_type: Mapping[ErrorType, ErrorSummary]
    effort: EditEffort
    worst_documents: tuple[DocumentView, ...]
    calibration: CalibrationMetrics | None
    comparison: SystemComparison | None
    unknown_labels: Mapping[str, int]
    warnings: tuple[str, ...]
    resamples: int
    seed: int


def summarize_dropped(lost: Sequence[DroppedAnnotation], *, examples: int) -> DroppedSummary:
    """Count what was lost by reason.

    Args:
        lost: In any order.
        examples: How many to keep of each reason, at most.

    Returns:
        Counts and the first examples of each reason.
    """
    by_reason: dict[DropReason, list[DroppedAnnotation]] = {}
    for entry in lost:
        by_reason.setdefault(entry.reason, []).append(entry)
    frequent = sorted(by_reason.items(), key=lambda item: -len(item[1]))
    return DroppedSummary(
        total=len(lost),
        by_reason={reason: len(entries) for reason, entries in frequent},
        examples=tuple(entry for _, entries in frequent for entry in entries[:examples]),
    )


def report_to_json(report: EvaluationReport) -> dict[str, Any]:
    """Write a report as an object that `json.dumps` takes.

    Args:
        report: Any report.

    Returns:
        The object: ratios from 0 to 1, lengths in words, offsets in code points.
    """
    return {
        "model": report.model,
        "gold": report.gold,
        "documents": report.documents,
        **_stratum_to_json(report.overall),
        "by_label": {label: _stratum_to_json(entry) for label, entry in report.by_label.items()},
        "by_length": {
            length: _stratum_to_json(entry) for length, entry in report.by_length.items()
        },
        "by_label_and_length": {
            label: {length: _stratum_to_json(entry) for length, entry in by_length.items()}
            for label, by_length in report.by_label_and_length.items()
        },
        "lost": {
            "flat_bio": asdict(report.dropped_by_flat_bio),
            "reading": asdict(report.dropped_on_import),
            "predicted": asdict(report.dropped_predictions),
        },
        "errors": {
            kind: {
                "count": entry.count,
                "examples": [_example_to_json(one) for one in entry.examples],
            }
            for kind, entry in report.errors_by_type.items()
        },
        "effort": _effort_to_json(report.effort),
        "worst": [_document_to_json(document) for document in report.worst_documents],
        "calibration": asdict(report.calibration) if report.calibration else None,
        "against": _comparison_to_json(report.comparison) if report.comparison else None,
        "unknown_labels": dict(report.unknown_labels),
        "warnings": list(report.warnings),
        "bootstrap": {"resamples": report.resamples, "seed": report.seed, "coverage": 0.95},
    }


def _stratum_to_json(figures: StratumScores) -> dict[str, Any]:
    """Both ways to compare."""
    return {"strict": _counts_to_json(figures.strict), "relaxed": _counts_to_json(figures.relaxed)}


def _counts_to_json(figure: CountsWithInterval) -> dict[str, Any]:
    """Counts and the ratios drawn from them."""
    counts = figure.counts
    return {
        "tp": counts.tp,
        "tp_predicted": counts.tp_predicted,
        "fp": counts.fp,
        "fn": counts.fn,
        "gold": counts.gold,
        "predicted": counts.predicted,
        "precision": counts.precision,
        "recall": counts.recall,
        "f1": counts.f1,
        "interval": list(figure.interval),
    }


def _comparison_to_json(comparison: SystemComparison) -> dict[str, Any]:
    """The other system, overall and by its strata."""
    return {
        "model": comparison.model,
        **_differences_to_json(comparison.overall),
        "by_label": {
            label: _differences_to_json(entry) for label, entry in comparison.by_label.items()
        },
        "by_length": {
            length: _differences_to_json(entry) for length, entry in comparison.by_length.items()
        },
        "effort": _effort_to_json(comparison.effort),
    }


def _differences_to_json(differences: StratumDifferences) -> dict[str, Any]:
    return {
        scheme: {
            "f1": difference.other_f1,
            "f1_interval": list(difference.other_f1_interval),
            "difference": difference.difference,
            "interval": list(difference.interval),
            "p": difference.p_value,
        }
        for scheme, difference in (
            ("strict", differences.strict),
            ("relaxed", differences.relaxed),
        )
    }


def _document_to_json(view: DocumentView) -> dict[str, Any]:
    return {
        "document": view.document_id,
        "text": view.text,
        "gold": [asdict(span) for span in view.gold],
        "predicted": [asdict(span) for span in view.predicted],
        "actions": view.edit_actions,
    }


def _effort_to_json(effort: EditEffort) -> dict[str, Any]:
    """Actions, and what they are compared with."""
    return {
        "actions": effort.total_actions,
        "by_kind": dict(effort.action_counts),
        "from_nothing": effort.from_scratch,
        "saved": effort.saved_share,
    }


def _example_to_json(example: ErrorExample) -> dict[str, Any]:
    quotes = {"gold": example.gold, "predicted": example.predicted}
    return {
        key: None if quote is None else {"label": quote[0], "text": quote[1]}
        for key, quote in quotes.items()
    } | {
        "times": example.occurrences,
        "document": example.document_id,
        "context": example.context,
    }


def check_report_dir(folder: Path) -> None:
    """See that a report can be written, before the hour of work that it is about.

    Args:
        folder: For `write_report`; it is not made yet.

    Raises:
        OutputError: If it could not be written there.
    """
    for name in REPORT_FILENAMES:
        if (folder / name).is_dir():
            raise OutputError(f"{folder / name} is a folder: give another --report")
    place = folder.absolute()
    nearest = next(one for one in (place, *place.parents) if one.exists())
    try:
        with TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise OutputError(
            f"no report can be written into {folder} ({error.strerror}): give another --report"
        ) from error


def write_report(
    folder: Path, *, report_json: Mapping[str, Any], markdown: str, html: str | None = None
) -> None:
    """Write ``report.md``, ``report.html`` and ``report.json`` into a folder, all or none.

    Args:
        folder: Made where it is missing; a report that is already there is replaced, page and all.
        report_json: The JSON object.
        markdown: The same for people.
        html: The same as HTML; None for no page.

    Raises:
        OutputError: If they cannot be written.
    """
    numbers = json.dumps(report_json, ensure_ascii=False, indent=2) + "\n"
    texts = {"report.md": markdown, "report.html": html, "report.json": numbers}
    # The numbers last: their presence means complete.
    files = {
        folder / name: [text] for name in REPORT_FILENAMES if (text := texts[name]) is not None
    }
    write_atomically(files, overwrite=True)
    for name in REPORT_FILENAMES:
        if folder / name not in files:  # of an earlier report
            (folder / name).unlink(missing_ok=True)
