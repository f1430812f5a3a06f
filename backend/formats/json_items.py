"""Items of a JSON file, one at a time, in little memory."""

import io
import math
import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import IO, Any, TypeVar

import ijson

from tagalong.backend.formats.text_file import CHUNK_BYTES, TextFile
from tagalong.ner.errors import FormatError

Value = TypeVar("Value")
# One JSON escape; the group is half of a UTF-16 pair whose other half is missing.
JSON_ESCAPE_PATTERN = re.compile(
    rb"\\(?:u[dD][89abAB]\w\w\\u[dD][c-fC-F]\w\w|(u[dD][89a-fA-F]\w\w)|.?)", re.DOTALL
)
SURROGATE_PAIR_BYTES = 12  # the longest escape: two of \uXXXX
STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
STRING_OR_BRACKET = re.compile(STRING + rb"|[][{}]", re.DOTALL)
STRING_OR_NUMBER = re.compile(
    STRING + rb"|-?(?:NaN|Infinity)|-?[0-9][0-9.eE+-]*+", re.DOTALL
)  # Python writes the words
MAX_SAFE_DIGITS = 18  # of an integer in 64 bits
MAX_DEPTH = 200  # of objects and lists in each other; the parser takes memory by its square
AS_SQUARE = bytes.maketrans(b"{}", b"[]")
NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def stream_array_items(file: TextFile, path: str = "item") -> Iterator[Any]:
    """Read the items of a JSON array one at a time.

    Another path leads to an array inside, such as ``documents.item``.
    """
    try:
        yield from iterate_items(file, path)
    except ijson.JSONError as error:
        raise FormatError(
            f"{file.path} is not JSON, or breaks off ({first_error_line(error)}): export it again",
            code="json-broken",
        ) from error


def iterate_items(file: TextFile, path: str = "item") -> Iterator[Any]:
    """Read items like `stream_array_items`; raises `ijson.JSONError`."""
    return _parse(file, lambda stream: ijson.items(stream, path, use_float=True))


def iterate_keys(file: TextFile) -> Iterator[str]:
    """Read the keys of a JSON object; raises `ijson.JSONError`."""
    for parent, kind, key in _parse(file, partial(ijson.parse, use_float=True)):
        if kind == "map_key" and not parent:
            yield key


def _parse(file: TextFile, parse: Callable[[IO[bytes]], Iterator[Value]]) -> Iterator[Value]:
    count = 0
    try:
        for count, value in enumerate(parse(file.open_stream()), start=1):  # noqa: B007
            yield value
    except ijson.JSONError:
        content = file.open_stream().read()
        repaired = STRING_OR_NUMBER.sub(_repair_number, content)
        if repaired == content:
            raise
        yield from islice(parse(io.BytesIO(repaired)), count, None)


def _repair_number(found: re.Match[bytes]) -> bytes:
    # None instead of what is no number, and a float for an integer of more than 64 bits.
    token = found[0]
    if token.startswith(b'"') or (len(token) <= MAX_SAFE_DIGITS and token.isdigit()):
        return token
    try:
        number = float(token)
    except ValueError:
        return token  # no JSON
    if not math.isfinite(number):
        return b"null"
    is_integer = token.lstrip(b"-").isdigit()
    is_large = is_integer and (abs(number) > 2.0**63 or not -(2**63) <= int(token) < 2**63)
    return repr(number).encode() if is_large else token


def check_json(file: TextFile) -> None:
    """Refuse JSON that the parser would read wrong, or that would fill the memory.

    Raises:
        FormatError: If half a character is in it, or objects and lists are nested too deeply.
    """
    rest, done, stream = b"", 0, file.open_stream()
    opened, is_checked = b"", False
    while piece := rest + (chunk := stream.read(CHUNK_BYTES)):
        rest = b""
        # The parser turns half a UTF-16 pair into a question mark, or fails without saying where.
        for escape in JSON_ESCAPE_PATTERN.finditer(piece):
            if chunk and len(piece) - escape.start() < SURROGATE_PAIR_BYTES:
                rest = piece[escape.start() :]  # the chunk may end within an escape
                break
            if half := escape.group(1):
                raise FormatError(
                    f"{file.path} has half a character, \\{half.decode()}, at byte "
                    f"{done + escape.start():,}: correct the program that wrote the file",
                    code="half-a-character-in-file",
                )
        done += len(piece) - len(rest)
        opened = _pair_brackets(opened + chunk.translate(AS_SQUARE, NO_BRACKETS))
        if len(opened) > MAX_DEPTH and not is_checked:
            _check_depth(file)  # brackets in texts may look like depth
            is_checked = True


def _pair_brackets(brackets: bytes) -> bytes:
    # Those that are still open, or more than the depth allows.
    for _ in range(MAX_DEPTH):
        shorter = brackets.replace(b"[]", b"")
        if len(shorter) == len(brackets):
            return brackets.lstrip(b"]")
        brackets = shorter
    return b"[" * (MAX_DEPTH + 1)


def _check_depth(file: TextFile) -> None:
    depth = 0
    for found in STRING_OR_BRACKET.finditer(file.open_stream().read()):
        if found[0] in b"[{":
            depth += 1
        elif found[0] in b"]}":
            depth -= 1
        if depth > MAX_DEPTH:
            raise FormatError(
                f"{file.path} has objects and lists more than {MAX_DEPTH} deep at byte "
                f"{found.start():,}: correct the program that wrote the file",
                code="json-too-deep",
            )


def first_error_line(error: Exception) -> str:
    """The first line of the parser's message; the others draw an arrow."""
    return str(error).strip("b'\"").split("\n")[0].split("\\n")[0].strip()
