"""A first look at a file: is it text, is it JSON, and what does its first record look like?"""

import codecs
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import ijson

from tagalong.ner.errors import FormatError, InputError

CHUNK_BYTES = 1 << 20  # read at once while checking the encoding
HEAD_BYTES = 1 << 16  # shown to the formats that are recognised by their lines
UTF16_BYTE_ORDER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # what PowerShell's > writes
MISSING = object()  # no item, where None could be one
# JSON's escapes one by one; the group is half a UTF-16 pair without its other half.
JSON_ESCAPE_PATTERN = re.compile(
    rb"\\(?:u[dD][89abAB]\w\w\\u[dD][c-fC-F]\w\w|(u[dD][89a-fA-F]\w\w)|.?)", re.DOTALL
)
SURROGATE_PAIR_BYTES = 12  # the longest of them

FileStructure = Literal["array", "lines", "object", "text"]


@dataclass(frozen=True, slots=True)
class FileHead:
    """What the start of a file tells.

    Attributes:
        path: The file.
        structure: A JSON array, JSON lines, one JSON object over several lines, or any other text.
        first_record: The first record: first item of an array, object of the first line, or just the
            keys of a single object. Empty where there is none, or where it is not an object.
        head_lines: The first complete lines, without their ends.
        parse_error: Why a file that starts like JSON is not JSON.
    """

    path: Path
    structure: FileStructure
    first_record: Mapping[str, Any]
    head_lines: tuple[str, ...]
    parse_error: str = ""


def sniff_file(path: Path) -> FileHead:
    """Look at the start of a file, and check that all of it is text.

    Args:
        path: Any file.

    Returns:
        What its start tells.

    Raises:
        InputError: If it cannot be read.
        FormatError: If it is empty, not UTF-8, or binary.
    """
    _check_utf8(path)
    with open_text(path) as file:
        head = file.read(HEAD_BYTES)
        whole = len(head) < HEAD_BYTES
    pieces = head.decode(errors="ignore").split("\n")
    lines = tuple(piece.removesuffix("\r") for piece in (pieces if whole else pieces[:-1]))
    start = head.lstrip()[:1]
    if not start:
        raise FormatError(f"{path} is empty: export the annotations again")
    if start == b"[":
        return _sniff_array(path, lines)
    if start == b"{":
        return _sniff_object(path, lines)
    return FileHead(path, "text", {}, lines)


@contextmanager
def open_text(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading behind its byte order mark, if it has one.

    Args:
        path: Any file.

    Yields:
        The open file, in binary mode.

    Raises:
        InputError: If it cannot be opened, or is a pipe.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    with file:
        if not file.seekable():
            raise InputError(f"{path} is a pipe, but is read more than once: save it to a file")
        if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            file.seek(0)
        yield file


def stream_array_items(path: Path) -> Iterator[Any]:
    """Read the items of a JSON array one at a time, in little memory.

    Args:
        path: A file that holds a JSON array.

    Yields:
        Each item.

    Raises:
        FormatError: If the file breaks off, or is not JSON.
    """
    with open_text(path) as file:
        try:
            yield from ijson.items(file, "item", use_float=True)
        except ijson.JSONError as error:
            raise FormatError(
                f"{path} is not JSON, or breaks off ({_first_error_line(error)}): export it again"
            ) from error


def _check_utf8(path: Path) -> None:
    """Read a file once, to say clearly where it is not text."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    done = 0
    with open_text(path) as file:
        if file.read(2) in UTF16_BYTE_ORDER_MARKS:
            raise FormatError(f"{path} is UTF-16: save it as UTF-8")
        file.seek(0)
        while chunk := file.read(CHUNK_BYTES):
            if (nul := chunk.find(b"\0")) >= 0:
                raise FormatError(
                    f"{path} has a NUL byte at position {done + nul:,}: it is a binary file, or "
                    "damaged; give a text file"
                )
            _decode_chunk(decoder, chunk, path, done)
            done += len(chunk)
        _decode_chunk(decoder, b"", path, done)


def _decode_chunk(decoder: codecs.IncrementalDecoder, chunk: bytes, path: Path, done: int) -> None:
    """Decode a piece of a file, or the end of it where the piece is empty."""
    pending, _ = decoder.getstate()  # the first bytes of a character that the last piece cut
    try:
        decoder.decode(chunk, final=not chunk)
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{path} is not UTF-8 from byte {done - len(pending) + error.start:,} on: save it as "
            "UTF-8, because offsets cannot be trusted in a guessed encoding"
        ) from error


def _check_surrogate_pairs(path: Path) -> None:
    """Read a JSON file once, for yajl turns half a UTF-16 pair into a question mark, or breaks."""
    rest, done = b"", 0
    with open_text(path) as file:
        while piece := rest + (chunk := file.read(CHUNK_BYTES)):
            rest = b""
            for escape in JSON_ESCAPE_PATTERN.finditer(piece):
                if chunk and len(piece) - escape.start() < SURROGATE_PAIR_BYTES:
                    rest = piece[escape.start() :]  # the end of the piece may have cut it
                    break
                if half := escape.group(1):
                    raise FormatError(
                        f"{path} has half a character, \\{half.decode()}, at byte "
                        f"{done + escape.start():,}: mend it where the file was made"
                    )
            done += len(piece) - len(rest)


def _first_error_line(error: Exception) -> str:
    """The first line of a parser's message; the others draw an arrow."""
    return str(error).strip("b'\"").split("\n")[0].split("\\n")[0].strip()


def _sniff_array(path: Path, lines: tuple[str, ...]) -> FileHead:
    """Look at what starts with a bracket."""
    _check_surrogate_pairs(path)
    try:
        with open_text(path) as file:
            first: Any = next(ijson.items(file, "item", use_float=True), MISSING)
    except ijson.JSONError as error:
        return FileHead(path, "text", {}, lines, parse_error=_first_error_line(error))
    if first is MISSING:
        raise FormatError(f"{path} is an empty list: export the annotations again")
    return FileHead(path, "array", first if isinstance(first, dict) else {}, lines)


def _sniff_object(path: Path, lines: tuple[str, ...]) -> FileHead:
    """Look at what starts with a brace."""
    with open_text(path) as file:
        first_line = next(line for line in file if line.strip())
    try:
        return FileHead(path, "lines", json.loads(first_line), lines)
    except (ValueError, RecursionError):
        pass  # not a record of its own: one object over several lines, or no JSON at all
    _check_surrogate_pairs(path)
    try:
        with open_text(path) as file:
            events = ijson.basic_parse(file, use_float=True)
            keys = _top_level_keys(events)
    except ijson.JSONError as error:
        return FileHead(path, "text", {}, lines, parse_error=_first_error_line(error))
    return FileHead(path, "object", dict.fromkeys(keys), lines)


def _top_level_keys(events: Iterable[tuple[str, Any]]) -> list[str]:
    """The keys of the outermost object in a stream of JSON events."""
    keys, depth = [], 0
    for kind, value in events:
        if kind in ("start_map", "start_array"):
            depth += 1
        elif kind in ("end_map", "end_array"):
            depth -= 1
        elif kind == "map_key" and depth == 1:
            keys.append(value)
    return keys
