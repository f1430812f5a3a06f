"""Evaluation results and their JSON form.

An `EvaluationReport` holds counts and intervals; ratios are computed when it is written. JSON is
the primary format; Markdown, HTML and terminal tables are views of it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Generic, TypeVar

from tagalong.backend.storage.atomic_files import write_atomically
from tagalong.ner.document import DroppedAnnotation, DropReason, Span
from tagalong.ner.errors import OutputError
from tagalong.ner.length_buckets import LengthBucket, LengthUnit
from tagalong.ner.scoring import Counts
from tagalong.training.evaluation.calibration import CalibrationMetrics
from tagalong.training.evaluation.edit_effort import EditEffort
from tagalong.training.evaluation.error_types import ErrorSummary, ErrorType

Interval = tuple[float, float]
Result = TypeVar("Result")

# In the order of writing. JSON comes last: if it exists, the report is complete.
REPORT_FILENAMES = ("report.md", "report.html", "report.json")
COUNT_RATIOS = ("gold", "predicted", "precision", "recall", "f1")  # in JSON, after the counts


@dataclass(frozen=True, slots=True)
class CountsWithInterval:
    """Counts with the 95 % bootstrap interval of their F1, over documents."""

    counts: Counts
    interval: Interval


@dataclass(frozen=True, slots=True)
class F1Difference:
    """F1 of the second system, and the difference of the first system to it."""

    other_f1: float
    other_f1_interval: Interval  # 95 %, by the bootstrap
    difference: float  # F1 of the first system minus `other_f1`
    interval: Interval  # 95 %, of the difference; both systems share the resamples
    p_value: float  # two-sided, see `tagalong.training.evaluation.bootstrap.compute_p_value`


@dataclass(frozen=True, slots=True)
class MatchSchemes(Generic[Result]):
    """Results of one stratum (all spans, one label, one length) under both match schemes."""

    strict: Result
    relaxed: Result


# Types only: Python 3.11 cannot call a generic alias of a frozen class with slots.
StratumScores = MatchSchemes[CountsWithInterval]
StratumDifferences = MatchSchemes[F1Difference]


@dataclass(frozen=True, slots=True)
class SystemComparison:
    """The second system, compared with the first overall and by stratum."""

    model: str
    overall: StratumDifferences
    by_label: Mapping[str, StratumDifferences]
    by_length: Mapping[LengthBucket, StratumDifferences]
    effort: EditEffort  # for the second system's predictions


@dataclass(frozen=True, slots=True)
class DroppedSummary:
    """Annotations that were dropped at one step."""

    total: int
    by_reason: Mapping[DropReason, int]  # most frequent first
    examples: tuple[DroppedAnnotation, ...]  # the first few of each reason


@dataclass(frozen=True, slots=True)
class DocumentView:
    """A document with its gold and predicted spans, for display; fields are named as in JSON."""

    document: str  # its id
    text: str
    gold: tuple[Span, ...]
    predicted: tuple[Span, ...]
    actions: int  # edit actions that correct the predictions


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """All results of an evaluation."""

    model: str  # version, or versions, of the predictions
    gold: str  # path or fingerprint of the gold standard
    documents: int
    overall: StratumScores
    by_label: Mapping[str, StratumScores]  # in the order of the model's labels, then by name
    by_length: Mapping[LengthBucket, StratumScores]  # recall by gold, precision by predicted length
    by_label_and_length: Mapping[str, Mapping[LengthBucket, StratumScores]]
    dropped_by_flat_bio: DroppedSummary  # still in gold, and missed unless predicted
    dropped_on_import: DroppedSummary  # never became gold spans
    dropped_predictions: DroppedSummary  # no valid spans
    errors_by_type: Mapping[ErrorType, ErrorSummary]
    effort: EditEffort
    worst_documents: tuple[DocumentView, ...]  # most edit actions first
    calibration: CalibrationMetrics | None  # None if no predicted span has a score
    comparison: SystemComparison | None  # None without a second system
    unknown_labels: Mapping[str, int]  # gold labels that the model lacks, and their span counts
    warnings: tuple[str, ...]  # limits of the results, one sentence each
    resamples: int
    seed: int
    length_unit: LengthUnit = "words"  # of the lengths of all strata


def summarize_dropped(dropped: Sequence[DroppedAnnotation], *, examples: int) -> DroppedSummary:
    """Count dropped annotations by reason, with a few examples of each."""
    by_reason: dict[DropReason, list[DroppedAnnotation]] = {}
    for entry in dropped:
        by_reason.setdefault(entry.reason, []).append(entry)
    frequent = sorted(by_reason.items(), key=lambda item: -len(item[1]))
    return DroppedSummary(
        total=len(dropped),
        by_reason={reason: len(entries) for reason, entries in frequent},
        examples=tuple(entry for _, entries in frequent for entry in entries[:examples]),
    )


def report_to_json(report: EvaluationReport) -> dict[str, Any]:
    """Convert a report to JSON types: ratios from 0 to 1, offsets in code points."""
    return {
        "model": report.model,
        "gold": report.gold,
        "documents": report.documents,
        **_to_json(report.overall),
        "by_label": _to_json(report.by_label),
        "length_by": report.length_unit,
        "by_length": _to_json(report.by_length),
        "by_label_and_length": _to_json(report.by_label_and_length),
        "lost": {
            "flat_bio": asdict(report.dropped_by_flat_bio),
            "import": asdict(report.dropped_on_import),
            "predicted": asdict(report.dropped_predictions),
        },
        "errors": {kind: asdict(errors) for kind, errors in report.errors_by_type.items()},
        "effort": _to_json(report.effort),
        "worst": [asdict(document) for document in report.worst_documents],
        "calibration": asdict(report.calibration) if report.calibration else None,
        "against": _to_json(report.comparison),
        "unknown_labels": dict(report.unknown_labels),
        "warnings": list(report.warnings),
        "bootstrap": {"resamples": report.resamples, "seed": report.seed, "coverage": 0.95},
    }


def _to_json(value: Any) -> Any:
    """Convert scores to JSON types, alone or in mappings; keys are part of the file format."""
    match value:
        case None:
            return None
        case Mapping():
            return {name: _to_json(one) for name, one in value.items()}
        case MatchSchemes():
            return {"strict": _to_json(value.strict), "relaxed": _to_json(value.relaxed)}
        case CountsWithInterval(counts, interval):
            ratios = {name: getattr(counts, name) for name in COUNT_RATIOS}
            return {**asdict(counts), **ratios, "interval": list(interval)}
        case F1Difference():
            return {
                "f1": value.other_f1,
                "f1_interval": list(value.other_f1_interval),
                "difference": value.difference,
                "interval": list(value.interval),
                "p_value": value.p_value,
            }
        case EditEffort():
            return {
                "actions": value.total_actions,
                "by_kind": dict(value.action_counts),
                "from_scratch": value.from_scratch,
                "saved_share": value.saved_share,
            }
        case SystemComparison():
            return {
                "model": value.model,
                **_to_json(value.overall),
                "by_label": _to_json(value.by_label),
                "by_length": _to_json(value.by_length),
                "effort": _to_json(value.effort),
            }
    raise TypeError(f"no JSON form of {type(value).__name__}")


def check_report_dir(folder: Path) -> None:
    """Check that `write_report` can write into a folder, before hours of work rather than after.

    Raises:
        OutputError: If the folder is not writable.
    """
    for name in REPORT_FILENAMES:
        if (folder / name).is_dir():
            raise OutputError(
                f"{folder / name} is a folder: give another --report", code="report-folder-unusable"
            )
    absolute = folder.absolute()
    nearest = next(path for path in (absolute, *absolute.parents) if path.exists())
    try:
        with TemporaryFile(dir=nearest):  # permission bits do not tell of a read-only mount
            pass
    except OSError as error:
        raise OutputError(
            f"cannot write a report into {folder} ({error.strerror}): give another --report",
            code="report-folder-unusable",
        ) from error


def write_report(
    folder: Path, *, report_json: Mapping[str, Any], markdown: str, html: str | None = None
) -> None:
    """Write ``report.md``, ``report.html`` and ``report.json`` into a folder, all or none.

    An earlier report in it is replaced; its page is removed if `html` is None.

    Raises:
        OutputError: If a file cannot be written.
    """
    json_text = json.dumps(report_json, ensure_ascii=False, indent=2) + "\n"
    texts = dict(zip(REPORT_FILENAMES, (markdown, html, json_text), strict=True))
    files = {folder / name: [text] for name, text in texts.items() if text is not None}
    write_atomically(files, overwrite=True)
    if html is None:  # a page of an earlier report would show other scores
        (folder / "report.html").unlink(missing_ok=True)
