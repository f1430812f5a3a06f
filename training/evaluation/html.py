"""Evaluation reports as one self-contained HTML page, for screens (light and dark) and print."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tagalong.backend.pages import make_page_environment
from tagalong.ner.scoring import LENGTH_BUCKETS, Counts, LengthBucket
from tagalong.training.evaluation.calibration import ReliabilityBin
from tagalong.training.evaluation.edit_effort import EDIT_ACTIONS
from tagalong.training.evaluation.report import (
    EvaluationReport,
    F1Difference,
    Interval,
    StratumScores,
    SystemComparison,
)
from tagalong.training.evaluation.tables import describe_error, report_tables
from tagalong.training.evaluation.text_segments import segment_text

LENGTH_ROW_NAMES: dict[LengthBucket, str] = {"1": "1 word", "2": "2 words", "3+": "3 words or more"}


@dataclass(frozen=True, slots=True)
class StratumRow:
    """One stratum, as a table row with a chart.

    Attributes:
        counts: Strict matches.
        interval: 95 % interval of F1.
        difference: None without a second system.
    """

    name: str
    counts: Counts
    interval: Interval
    difference: F1Difference | None

    @property
    def is_empty(self) -> bool:
        """Neither gold nor predictions have spans in the stratum."""
        return not self.counts.gold and not self.counts.predicted


def report_to_html(report: EvaluationReport) -> str:
    """Render a report as a self-contained HTML page."""
    tables = {table.title.partition(":")[0]: table for table in report_tables(report)}
    comparison = report.comparison
    return _ENVIRONMENT.get_template("report.html").render(
        report=report,
        sentence=comparison and describe_difference(comparison.overall.strict),
        by_length=build_rows(
            report.overall,
            {LENGTH_ROW_NAMES[length]: report.by_length[length] for length in LENGTH_BUCKETS},
            comparison,
            {
                LENGTH_ROW_NAMES[length]: comparison.by_length[length].strict
                for length in LENGTH_BUCKETS
            }
            if comparison
            else {},
        ),
        by_label=build_rows(
            report.overall,
            report.by_label,
            comparison,
            {label: entry.strict for label, entry in comparison.by_label.items()}
            if comparison
            else {},
        ),
        tables=tables,
        actions=EDIT_ACTIONS,
        points=reliability_points(report.calibration.bins) if report.calibration else (),
        examples=[
            (kind, describe_error(example), example.document_id, example.context)
            for kind, errors in report.errors_by_type.items()
            for example in errors.examples
        ],
        cut=segment_text,
    )


def build_rows(
    overall: StratumScores,
    strata: Mapping[str, StratumScores],
    comparison: SystemComparison | None,
    differences: Mapping[str, F1Difference],
) -> list[StratumRow]:
    """Build the rows of a chart, that of all spans first.

    Args:
        overall: Scores of all spans.
        strata: Scores by row name.
        comparison: The second system, if any.
        differences: Strict differences by row name, if any.

    Returns:
        The stratum row.
    """
    rows = [_build_row("All", overall, comparison.overall.strict if comparison else None)]
    return rows + [
        _build_row(name, scores, differences.get(name)) for name, scores in strata.items()
    ]


def _build_row(name: str, scores: StratumScores, difference: F1Difference | None) -> StratumRow:
    strict = scores.strict
    return StratumRow(name, strict.counts, strict.interval, difference)


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
