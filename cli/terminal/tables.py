"""Tables of text on the terminal."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table as Grid
from rich.text import Text

from tagalong.cli.terminal.console import console
from tagalong.ner.text_sanitizing import to_single_line

if TYPE_CHECKING:  # what imports numpy would make `tagalong --help` slow
    from tagalong.training.evaluation.tables import TextTable

EMPTY_CELL = "-"


def print_tables(tables: "Iterable[TextTable]") -> None:
    """Show tables, each under its title.

    Args:
        tables: Any.
    """
    for table in tables:
        console.print()
        console.print(Text(to_single_line(table.title), style="bold"))
        console.print(_build_rich_table(table))
        if table.note:
            console.print(Text(table.note, style="dim"))


def _build_rich_table(table: "TextTable") -> Grid:
    """The cells of a table: drawn lines in a terminal, plain characters in a pipe."""
    grid = Grid(box=box.SIMPLE_HEAD if console.is_terminal else box.ASCII)
    for name, side in zip(table.columns, table.align, strict=True):
        # Figures are never folded; what is long is a name or a quote, and shown to its end.
        if side == "r":
            grid.add_column(name, justify="right", no_wrap=True)
        else:
            grid.add_column(name, overflow="fold")
    for row in table.rows:
        grid.add_row(*(Text(to_single_line(cell)) for cell in row))
    return grid


def format_score(value: object) -> str:
    """Write a figure of a manifest.

    Args:
        value: As it was read: a number from 0 to 1, or anything else where it is not known.

    Returns:
        Three decimals, or a dash.
    """
    return f"{value:.3f}" if isinstance(value, int | float) else EMPTY_CELL
