"""A first look at a file or folder: its structure and its first record."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

import ijson

from tagalong.backend.formats.json_items import (
    check_json,
    first_error_line,
    iterate_items,
    iterate_keys,
    stream_array_items,
)
from tagalong.backend.formats.text_file import (
    HEAD_BYTES,
    LINE_END_PATTERN,
    TextFile,
    check_utf8,
)
from tagalong.ner.errors import FormatError

# No text begins so: zlib, as in spaCy's files; Parquet; Arrow files; Arrow streams.
BINARY_STARTS = (b"x\x9c", b"PAR1\x15", b"ARROW1\0\0", b"\xff\xff\xff\xff")
MAX_SNIFFED_RECORDS = 50  # of an array or of lines
MISSING = object()  # no item; None can be an item

FileStructure = Literal["array", "lines", "object", "text", "folder", "binary"]


@dataclass(frozen=True, slots=True)
class FileHead:
    """What the start of a file shows, or the names in a folder."""

    file: TextFile
    # "object": one JSON object over several lines; "text": any other text; "folder" and "binary":
    # no record and no lines.
    structure: FileStructure
    # Of an array or lines: the first object with items in a list, else the first object. A record
    # without annotations does not show the format. Of a single object: the keys. Empty where there
    # is no object.
    first_record: Mapping[str, Any]
    head_lines: tuple[str, ...]  # the first complete lines, without their ends
    parse_error: str = ""  # the parser's message where a file starts like JSON and is not

    @property
    def path(self) -> Path:
        """The file's path, for messages and ids."""
        return self.file.path


def sniff_file(file: TextFile) -> FileHead:
    """Look at the start of a file; FormatError if any of it is not UTF-8 text, or it is empty.

    The files of a folder are not opened, and a binary file may be in a format of its own.
    """
    if file.is_folder:
        return FileHead(file, "folder", {}, ())
    if file.open_stream().read(max(map(len, BINARY_STARTS))).startswith(BINARY_STARTS):
        return FileHead(file, "binary", {}, ())
    check_utf8(file.open_stream(), file.path)
    head = file.open_stream().read(HEAD_BYTES)
    pieces = LINE_END_PATTERN.split(head.decode(errors="ignore"))
    is_whole = len(head) < HEAD_BYTES
    lines = tuple(pieces if is_whole else pieces[:-1])
    match head.lstrip()[:1]:
        case b"":
            raise FormatError(
                f"{file.path} is empty: export the annotations again", code="file-empty"
            )
        case b"[":
            return _sniff_array(file, lines)
        case b"{":
            return _sniff_object(file, lines)
        case _:
            return FileHead(file, "text", {}, lines)


def count_records(head: FileHead) -> int:
    """Count the lines that are not blank of JSON lines, or the items of a JSON array."""
    if head.structure == "lines":
        return sum(not line.isspace() for line in head.file.open_lines())
    return sum(1 for _ in stream_array_items(head.file))


def _sniff_array(file: TextFile, lines: tuple[str, ...]) -> FileHead:
    check_json(file)
    items = iterate_items(file)
    try:
        first: Any = next(items, MISSING)
    except ijson.JSONError as error:
        return FileHead(file, "text", {}, lines, parse_error=first_error_line(error))
    if first is MISSING:
        raise FormatError(
            f"{file.path} is an empty list: export the annotations again", code="file-empty-list"
        )
    first_record: Mapping[str, Any] = first if isinstance(first, dict) else {}
    with suppress(ijson.JSONError):  # the reader of the items says where it breaks off
        first_record = _choose_record(chain([first], items))
    return FileHead(file, "array", first_record, lines)


def _choose_record(records: Iterable[object]) -> Mapping[str, Any]:
    # Where another item than an object or null stands, records are no objects.
    first: Mapping[str, Any] = {}
    for record in islice(records, MAX_SNIFFED_RECORDS):
        if not isinstance(record, dict | None):
            break
        if record and any(isinstance(value, list) and value for value in record.values()):
            return record
        first = first or record or {}
    return first


def _parse_lines(lines: Iterable[str]) -> Iterator[object]:
    # But for those that are no JSON: the reader of the lines names them.
    for line in filter(str.strip, lines):
        with suppress(ValueError, RecursionError):
            yield json.loads(line)


def _sniff_object(file: TextFile, lines: tuple[str, ...]) -> FileHead:
    first_line = next(line for line in file.open_lines() if line.strip())
    try:
        first = json.loads(first_line)
    except (ValueError, RecursionError):
        # Not a record of its own: one object over several lines, no JSON at all, or a broken line
        # above whole ones. An object would have commas between these.
        below = [line for line in lines if line.strip()][1:]
        if [type(one) for one in _parse_lines(below[:2])] == [dict, dict]:
            return FileHead(file, "lines", _choose_record(_parse_lines(below)), lines)
    else:
        # The first line may be longer than the head of the file.
        return FileHead(file, "lines", _choose_record(_parse_lines(lines)) or first, lines)
    check_json(file)
    try:
        keys = list(iterate_keys(file))
    except ijson.JSONError as error:
        return FileHead(file, "text", {}, lines, parse_error=first_error_line(error))
    return FileHead(file, "object", dict.fromkeys(keys), lines)
