"""An evaluation report on the terminal."""

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
    """A report, laid out.

    Attributes:
        report_json: As one JSON object.
        markdown: For people.
        html: The same as HTML; None for the paper's protocol, or where none was asked for.
        tables: For the terminal.
        warnings: What to know before trusting the figures.
    """

    report_json: dict[str, Any]
    markdown: str
    html: str | None
    tables: "list[TextTable]"
    warnings: tuple[str, ...] = ()


def print_report(report: RenderedReport) -> None:
    """Show a report.

    Args:
        report: What was found.
    """
    figures = report.report_json
    head = f"{figures['model']} judged by {figures['gold']}, {figures['documents']} documents"
    console.print(Text(to_single_line(head), style="bold"))
    for warning in report.warnings:
        console.print(Text(to_single_line(f"Note: {warning}"), style="yellow"))
    print_tables(report.tables)
