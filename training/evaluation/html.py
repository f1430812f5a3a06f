"""Evaluation reports as one self-contained HTML page, for screens (light and dark) and print."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from tagalong.backend.pages import make_page_environment
from tagalong.ner.length_buckets import LENGTH_COLUMNS, LENGTH_NOTES
from tagalong.training.evaluation.calibration import ReliabilityBin
from tagalong.training.evaluation.edit_effort import EDIT_ACTIONS
from tagalong.training.evaluation.report import (
    CountsWithInterval,
    EvaluationReport,
    F1Difference,
)
from tagalong.training.evaluation.tables import error_examples, report_tables
from tagalong.training.evaluation.text_segments import segment_text

StratumRow = tuple[str, CountsWithInterval, F1Difference | None]  # name, strict matches, difference


def report_to_html(report: EvaluationReport) -> str:
    """Render a report as a self-contained HTML page."""
    comparison = report.comparison
    return _ENVIRONMENT.get_template("report.html").render(
        report=report,
        sentence=comparison and describe_difference(comparison.overall.strict),
        by_length=_build_rows(report, "by_length", LENGTH_COLUMNS[report.length_unit]),
        by_label=_build_rows(report, "by_label", {}),
        tables={table.title.partition(":")[0]: table for table in report_tables(report)},
        length_note=LENGTH_NOTES[report.length_unit],
        actions=EDIT_ACTIONS,
        points=reliability_points(report.calibration.bins) if report.calibration else (),
        examples=error_examples(report),
        cut=segment_text,
    )


def _build_rows(
    report: EvaluationReport, strata: Literal["by_label", "by_length"], names: Mapping[str, str]
) -> list[StratumRow]:
    """Rows of a chart, that of all spans first; `names` are for strata with another row name."""
    other = report.comparison
    rows = [("All", report.overall.strict, other.overall.strict if other else None)]
    for stratum, scores in getattr(report, strata).items():
        difference = getattr(other, strata)[stratum].strict if other else None
        rows.append((names.get(stratum, stratum), scores.strict, difference))
    return rows


def describe_difference(difference: F1Difference) -> str:
    """Say ``better``, ``worse`` or ``neither better nor worse beyond noise``."""
    low, high = difference.interval
    if low > 0:
        return "better"
    return "worse" if high < 0 else "neither better nor worse beyond noise"


def reliability_points(bins: Sequence[ReliabilityBin]) -> list[tuple[float, float, float]]:
    """Place the bins of a reliability diagram.

    Returns confidence, accuracy and dot radius of each bin with spans. The area of a dot is
    proportional to its spans; radii range from 1.2 to 5 in a diagram 100 wide.
    """
    most = max((part.spans for part in bins), default=0)
    return [
        (part.confidence, part.accuracy, max(1.2, 5 * (part.spans / most) ** 0.5))
        for part in bins
        if part.spans
    ]


_ENVIRONMENT = make_page_environment(Path(__file__).parents[1] / "templates")
