"""Evaluation reports on the terminal."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.text import Text

from tagalong.cli.terminal.console import console
from tagalong.cli.terminal.tables import print_tables
from tagalong.ner.text_sanitizing import to_single_line

if TYPE_CHECKING:  # numpy would make `tagalong --help` slow
    from tagalong.training.evaluation.tables import TextTable


@dataclass(frozen=True, slots=True)
class RenderedReport:
    """An evaluation report in every format.

    Attributes:
        html: None for the paper's protocol, or if no page is requested.
        warnings: Limits of the results.
    """

    report_json: dict[str, Any]
    markdown: str
    html: str | None
    tables: "list[TextTable]"
    warnings: tuple[str, ...] = ()


def print_report(report: RenderedReport) -> None:
    """Print a report with its warnings."""
    figures = report.report_json
    head = f"{figures['model']} on {figures['gold']}, {figures['documents']} documents"
    console.print(Text(to_single_line(head), style="bold"))
    for warning in report.warnings:
        console.print(Text(to_single_line(f"Note: {warning}"), style="yellow"))
    print_tables(report.tables)
