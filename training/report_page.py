"""A report as one HTML page that loads nothing: for screens, light and dark, and for print."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.pages import page_environment
from ner.scoring import LENGTHS, Counts, Length
from training.calibration import Bin
from training.effort import ACTIONS
from training.pieces import cut
from training.report import Comparison, Difference, Figures, Interval, Report
from training.tables import describe, report_tables

LENGTH_NAMES: dict[Length, str] = {"1": "1 word", "2": "2 words", "3+": "3 words or more"}


@dataclass(frozen=True, slots=True)
class Row:
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
    difference: Difference | None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to be right or wrong about."""
        return not self.counts.gold and not self.counts.predicted


def report_to_html(report: Report) -> str:
    """Set a report as a page.

    Args:
        report: Any report.

    Returns:
        HTML, whole and on its own.
    """
    tables = {table.title.partition(":")[0]: table for table in report_tables(report)}
    against = report.against
    return _ENVIRONMENT.get_template("report.html").render(
        report=report,
        sentence=against and sentence_of(against.overall.strict),
        by_length=rows_of(
            report.overall,
            {LENGTH_NAMES[length]: report.by_length[length] for length in LENGTHS},
            against,
            {LENGTH_NAMES[length]: against.by_length[length].strict for length in LENGTHS}
            if against
            else {},
        ),
        by_label=rows_of(
            report.overall,
            report.by_label,
            against,
            {label: entry.strict for label, entry in against.by_label.items()} if against else {},
        ),
        tables=tables,
        actions=ACTIONS,
        points=points(report.calibration.bins) if report.calibration else (),
        examples=[
            (kind, describe(example), example.document, example.context)
            for kind, mistakes in report.mistakes.items()
            for example in mistakes.examples
        ],
        cut=cut,
    )


def rows_of(
    overall: Figures,
    strata: Mapping[str, Figures],
    against: Comparison | None,
    differences: Mapping[str, Difference],
) -> list[Row]:
    """Lay out all spans, and those of each stratum.

    Args:
        overall: All.
        strata: By name.
        against: The other system, if there is one.
        differences: By the names of the strata, if there is one.

    Returns:
        Rows, that of all spans first.
    """
    rows = [_row("All", overall, against.overall.strict if against else None)]
    return rows + [_row(name, figures, differences.get(name)) for name, figures in strata.items()]


def _row(name: str, figures: Figures, difference: Difference | None) -> Row:
    """One stratum."""
    strict = figures.strict
    return Row(name, strict.counts, strict.interval, difference)


def sentence_of(difference: Difference) -> str:
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


def points(bins: Sequence[Bin]) -> list[tuple[float, float, float]]:
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


_ENVIRONMENT = page_environment(Path(__file__).parent / "templates")
