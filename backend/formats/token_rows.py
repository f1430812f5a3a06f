"""Rows of token files: what sets their columns apart, and their cells."""

import csv
import re
from collections.abc import Sequence

FEATURE_KEYS = frozenset({"ner", "ne", "entity", "name", "iob", "bio"})  # of tags in MISC
QUOTED_DELIMITERS = (",", ";")  # a cell with one is in quotation marks
MIN_DELIMITED_ROWS = 0.9  # share of rows with it; the other rows are refused


def list_delimiters(lines: Sequence[str]) -> list[str]:
    """What may set the columns of rows apart; the first with columns of words and tags does."""
    tabbed = sum("\t" in line for line in lines)
    if 2 * tabbed >= len(lines):
        # Some editors put blanks in place of tabs, in some rows.
        return ["\t"] if tabbed == len(lines) else ["\t", " "]
    least = MIN_DELIMITED_ROWS * len(lines)
    return [*(one for one in QUOTED_DELIMITERS if sum(one in line for line in lines) >= least), " "]


def split_row(line: str, delimiter: str) -> list[str]:
    """Split a row into columns; one whose quotation marks do not pair is a single cell."""
    if delimiter == "\t":
        return line.split(delimiter)
    if delimiter in QUOTED_DELIMITERS:
        cells = line.split(delimiter) if '"' not in line else _split_quoted(line, delimiter)
        return [cell.strip() for cell in cells]
    if "  " in line or "\t" in line or line[:1] == " " or line[-1:] == " ":
        return [cell for cell in re.split("[ \t]+", line) if cell]
    return line.split(" ")


def _split_quoted(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True, skipinitialspace=True))
    except csv.Error:
        return [line]


def split_features(cell: str) -> tuple[str, bool]:
    """The tag in a cell of CoNLL-U's MISC, ``_`` if none, and whether a blank follows the token."""
    tag, has_blank = "_", True
    for feature in cell.split("|"):
        key, sign, value = feature.partition("=")
        if feature == "SpaceAfter=No":
            has_blank = False
        elif sign and key.lower() in FEATURE_KEYS:
            tag = value or "O"
        elif not sign and tag == "_":
            tag = feature
    return tag, has_blank
