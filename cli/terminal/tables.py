"""Tables and reports on the terminal: lines in a terminal, plain characters in a file or pipe."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from tagalong.cli.terminal.console import console
from tagalong.ner.text_sanitizing import to_single_line

if TYPE_CHECKING:  # numpy would make `tagalong --help` slow
    from tagalong.training.evaluation.tables import TextTable

EMPTY_CELL = "-"


def new_table(*, piped_box: box.Box | None = box.ASCII, **settings: Any) -> Table:
    """Make a Rich table with a box that suits the terminal.

    `piped_box` is the box in a file or pipe; None for plain columns.
    """
    return Table(box=box.SIMPLE_HEAD if console.is_terminal else piped_box, **settings)


def print_report(report_json: Mapping[str, Any], tables: "Iterable[TextTable]") -> None:
    """Print an evaluation report with its warnings."""
    head = "{model} on {gold}, {documents} documents".format_map(report_json)
    console.print(Text(to_single_line(head), style="bold"))
    for warning in report_json["warnings"]:
        console.print(Text(to_single_line(f"Note: {warning}"), style="yellow"))
    print_tables(tables)


def print_tables(tables: "Iterable[TextTable]") -> None:
    """Print tables with their titles and notes."""
    for table in tables:
        console.print()
        console.print(Text(to_single_line(table.title), style="bold"))
        console.print(build_rich_table(table))
        if table.note:
            console.print(Text(table.note, style="dim"))


def build_rich_table(text_table: "TextTable") -> Table:
    """Convert a table of text, without its title and note."""
    table = new_table()
    for name, align in zip(text_table.columns, text_table.align, strict=True):
        # Numbers are never folded; names and quotes are folded so that all of them shows.
        if align == "r":
            table.add_column(name, justify="right", no_wrap=True)
        else:
            table.add_column(name, overflow="fold")
    for row in text_table.rows:
        table.add_row(*(Text(to_single_line(cell)) for cell in row))
    return table


def format_score(value: object) -> str:
    """Three decimals for a score of a manifest; a dash for anything but a number."""
    return f"{value:.3f}" if isinstance(value, int | float) else EMPTY_CELL
