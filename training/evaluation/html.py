"""A report as one HTML page that loads nothing: for screens, light and dark, and for print."""

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
    """One stratum, as a line of a table with a drawing in it.

    Attributes:
        name: Of the stratum.
        counts: Strict.
        interval: Of F1.
        difference: To the other system, if there is one.
    """

    name: str
    counts: Counts
    interval: Interval
    difference: F1Difference | None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to be right or wrong about."""
        return not self.counts.gold and not self.counts.predicted


def report_to_html(report: EvaluationReport) -> str:
    """Set a report as a page.

    Args:
        report: Any report.

    Returns:
        HTML, whole and on its own.
    """
    tables = {table.title.partition(":")[0]: table for table in report_tables(report)}
    against = report.comparison
    return _ENVIRONMENT.get_template("report.html").render(
        report=report,
        sentence=against and describe_difference(against.overall.strict),
        by_length=build_rows(
            report.overall,
            {LENGTH_ROW_NAMES[length]: report.by_length[length] for length in LENGTH_BUCKETS},
            against,
            {
                LENGTH_ROW_NAMES[length]: against.by_length[length].strict
                for length in LENGTH_BUCKETS
            }
            if against
            else {},
        ),
        by_label=build_rows(
            report.overall,
            report.by_label,
            against,
            {label: entry.strict for label, entry in against.by_label.items()} if against else {},
        ),
        tables=tables,
        actions=EDIT_ACTIONS,
        points=reliability_points(report.calibration.bins) if report.calibration else (),
        examples=[
            (kind, describe_error(example), example.document_id, example.context)
            for kind, mistakes in report.errors_by_type.items()
            for example in mistakes.examples
        ],
        cut=segment_text,
    )


def build_rows(
    overall: StratumScores,
    strata: Mapping[str, StratumScores],
    against: SystemComparison | None,
    differences: Mapping[str, F1Difference],
) -> list[StratumRow]:
    """Lay out all spans, and those of each stratum.

    Args:
        overall: All.
        strata: By name.
        against: The other system, if there is one.
        differences: By the names of the strata, if there is one.

    Returns:
        Rows, that of all spans first.
    """
    rows = [_build_row("All", overall, against.overall.strict if against else None)]
    return rows + [
        _build_row(name, figures, differences.get(name)) for name, figures in strata.items()
    ]


def _build_row(name: str, figures: StratumScores, difference: F1Difference | None) -> StratumRow:
    """One stratum."""
    strict = figures.strict
    return StratumRow(name, strict.counts, strict.interval, difference)


def describe_difference(difference: F1Difference) -> str:
    """Whether two systems differ by more than noise.

    Args:
        difference: This one less the other.

    Returns:
        ``better``, ``worse``, or ``neither better nor worse beyond noise``.
    """
    low, high = difference.interval
    if low > 0:
        return "better"
    return "worse" if high < 0 else "neither better nor worse beyond noise"


def reliability_points(bins: Sequence[ReliabilityBin]) -> list[tuple[float, float, float]]:
    """Where the bins of a reliability diagram are drawn.

    Args:
        bins: By rising score.

    Returns:
        Confidence, accuracy and the radius of a dot whose area grows with the bin, from 1.2 to 5 in
        a drawing that is 100 wide; those without spans left out.
    """
    most = max((part.spans for part in bins), default=0)
    return [
        (part.confidence, part.accuracy, max(1.2, 5 * (part.spans / most) ** 0.5))
        for part in bins
        if part.spans
    ]


_ENVIRONMENT = make_page_environment(Path(__file__).parents[1] / "templates")
