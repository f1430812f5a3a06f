"""Tables: CSV with commas or semicolons, and TSV, with a header line and quoted fields."""

import csv
import io
import re
from collections.abc import Iterable, Iterator

from tagalong.backend.formats.sniff import FileHead
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.errors import FormatError

DELIMITERS = (",", ";", "\t")  # Excel's CSV has semicolons where the comma is a decimal mark
MAX_FIELD_CHARACTERS = 2**31 - 1  # the module's own limit is 131,072
csv.field_size_limit(MAX_FIELD_CHARACTERS)
QUOTED_PATTERN = re.compile(r'[\r\n"]')  # and delimiters; the module leaves some CR unquoted


def parse_header(head: FileHead, delimiter: str) -> tuple[str, ...]:
    """The names of the columns; empty if the first line is not one of a table."""
    first_line = next((line for line in head.head_lines if line.strip()), "")
    try:
        cells = next(csv.reader([first_line], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return ()
    return tuple(cell.strip() for cell in cells)


def read_rows(head: FileHead, delimiter: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Read the place of each row ("name, line 3") and its cells by column.

    Line ends in quoted fields stay as they are. Blank lines are left out.

    Raises:
        FormatError: If a row has other columns than the header, or a quotation mark is not closed.
    """
    columns = parse_header(head, delimiter)
    text = io.TextIOWrapper(head.file.open_stream(), encoding="utf-8", newline="")
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    is_header = True
    try:
        for row in reader:
            if not row:
                continue
            if is_header:
                is_header = False
                continue
            where = f"{head.path}, line {reader.line_num}"
            if len(row) != len(columns):
                raise FormatError(
                    f"{where} has {pluralize(len(row), 'column')}, but the header has "
                    f"{len(columns)}: put texts "
                    f"with {delimiter!r}, quotation marks or line ends into quotation marks",
                    code="table-row-uneven",
                )
            yield where, dict(zip(columns, row, strict=True))
    except csv.Error as error:
        raise FormatError(
            f"{head.path}, line {reader.line_num} is not a row of a table ({error}): export it "
            "again, with quotation marks in texts doubled",
            code="table-broken",
        ) from error


def format_row(fields: Iterable[str], delimiter: str) -> str:
    """Write a row with its line end, and quotation marks where they are needed."""
    quoted = (
        '"{}"'.format(field.replace('"', '""'))
        if delimiter in field or QUOTED_PATTERN.search(field)
        else field
        for field in fields
    )
    return delimiter.join(quoted) + "\n"
