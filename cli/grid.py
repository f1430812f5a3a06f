"""Tables of text on the terminal."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table as Grid
from rich.text import Text

from cli.console import console
from ner.printable import on_one_line

if TYPE_CHECKING:  # what imports numpy would make `tagalong --help` slow
    from training.tables import Table


def print_tables(tables: "Iterable[Table]") -> None:
    """Show tables, each under its title.

    Args:
        tables: Any.
    """
    for table in tables:
        console.print()
        console.print(Text(on_one_line(table.title), style="bold"))
        console.print(_grid(table))
        if table.note:
            console.print(Text(table.note, style="dim"))


def _grid(table: "Table") -> Grid:
    """The cells of a table: drawn lines in a terminal, plain characters in a pipe."""
    grid = Grid(box=box.SIMPLE_HEAD if console.is_terminal else box.ASCII)
    for name, side in zip(table.columns, table.align, strict=True):
        # Figures are never folded; what is long is a name or a quote, and shown to its end.
        if side == "r":
            grid.add_column(name, justify="right", no_wrap=True)
        else:
            grid.add_column(name, overflow="fold")
    for row in table.rows:
        grid.add_row(*(Text(on_one_line(cell)) for cell in row))
    return grid
