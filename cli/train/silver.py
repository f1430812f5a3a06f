"""Options of ``tagalong train encoder --silver``, and the comparison with gold alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tagalong.cli.terminal.reports import RenderedReport, print_report
from tagalong.training.data.silver import DEFAULT_SILVER_WEIGHT

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from tagalong.training.evaluation.report import EvaluationReport
    from tagalong.training.jobs.train_version import SilverInput

SilverOption = Annotated[
    list[Path] | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        metavar="FILE",
        help=(
            "Another system's predictions for other texts, as extra training data; the "
            "format is that of `tagalong prelabel --out`."
        ),
    ),
]
SilverWeightOption = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=1.0,
        help=("Loss weight of a silver word at full confidence; words of the exports weigh 1."),
        show_default=str(DEFAULT_SILVER_WEIGHT),
    ),
]
SilverMinScoreOption = Annotated[
    float | None,
    typer.Option(
        min=0.0, max=1.0, help="Minimum document score for silver data.", show_default="0.0"
    ),
]
ExcludeOption = Annotated[
    list[Path] | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        metavar="FILE",
        help=("Leave out silver documents that are also in these files, such as a test set."),
    ),
]
NoBaselineOption = Annotated[
    bool,
    typer.Option(
        "--no-baseline",
        help=("Skip the baseline, a training run on the exports alone for comparison."),
    ),
]


def build_silver_input(
    *,
    files: Sequence[Path] | None,
    weight: float | None,
    min_score: float | None,
    excluded_files: Sequence[Path] | None,
    with_baseline: bool,
) -> "SilverInput | None":
    """Build the silver input from options; None without silver files."""
    from tagalong.training.jobs.train_version import SilverInput

    if files:
        return SilverInput(
            files=files,
            weight=DEFAULT_SILVER_WEIGHT if weight is None else weight,
            min_score=min_score or 0.0,
            excluded_files=excluded_files or (),
            with_baseline=with_baseline,
        )
    if weight is not None or min_score is not None or excluded_files or not with_baseline:
        raise typer.BadParameter(
            "--silver-weight, --silver-min-score, --exclude and --no-baseline are options of "
            "--silver: add --silver and a file of predictions"
        )
    return None


def render_comparison(report: "EvaluationReport") -> None:
    """Print the tables that compare a version with gold alone, as ``tagalong evaluate`` does."""
    from tagalong.training.evaluation.report import report_to_json
    from tagalong.training.evaluation.tables import report_tables
    from tagalong.training.jobs.train_version import GOLD_ONLY

    tables = [table for table in report_tables(report) if table.title.endswith(GOLD_ONLY)]
    print_report(RenderedReport(report_to_json(report), "", None, tables, report.warnings))
