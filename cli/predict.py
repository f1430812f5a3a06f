"""``tagalong predict``: entities of a text, a file or standard input, in colour or as JSON."""

import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from typing import IO, Annotated

import typer
from rich.text import Text

from tagalong.backend.documents.jsonl import (
    document_text_from_json,
    parse_lines,
    prediction_to_json,
)
from tagalong.backend.formats.text_file import check_utf8, split_lines
from tagalong.cli.terminal.console import console
from tagalong.cli.terminal.options import ModelsOption, load_tagger_by_reference, open_store
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import FormatError, InputError
from tagalong.ner.text_sanitizing import escape_control_characters
from tagalong.ner.tiers import DEFAULT_TIER

CHUNK_DOCUMENTS = 64  # predicted at once; predictions of a long file come while it is read
TABLE_SUFFIXES = (".csv", ".tsv")
FILE_SUFFIXES = (".txt", ".json", ".jsonl", *TABLE_SUFFIXES)
JSON_ARRAY_START_PATTERN = re.compile(r'\s*\[\s*\{\s*"')  # how an array of objects begins
LABEL_COLOURS = ("cyan", "yellow", "magenta", "green", "blue", "red")  # in the order of labels


def predict_cli(
    source: Annotated[
        str,
        typer.Argument(
            metavar="TEXT|FILE|-",
            help=(
                "A text, or a file or standard input (-) with plain text or with JSON lines "
                'that have a "text". A CSV or TSV file has a column of texts.'
            ),
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="Model version.", show_default="the current encoder, else the bundled one"
        ),
    ] = None,
    models: ModelsOption = Path("models"),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per document.")
    ] = False,
) -> None:
    """Find the entities of texts.

    Example: tagalong predict "Naloxone reverses the antihypertensive effect of clonidine."
    """
    documents = read_source(source)  # first, so that a wrong path costs no loading
    store = open_store(models)
    tagger = load_tagger_by_reference(store, model or DEFAULT_TIER, use_openvino=True)
    while chunk := list(islice(documents, CHUNK_DOCUMENTS)):
        for document, prediction in zip(chunk, tagger.predict(chunk), strict=True):
            if as_json:
                # Not through Rich, which would wrap and colour JSON that a program reads.
                sys.stdout.write(json.dumps(prediction_to_json(document, prediction)) + "\n")
            else:
                console.print(
                    render_prediction(document, prediction, tagger.labels), soft_wrap=True
                )
        sys.stdout.flush()


def read_source(source: str) -> Iterator[Document]:
    """Read the documents to predict from a text, a file's path, or ``-`` for standard input.

    Returns one document for plain text, one per line for JSON lines. A file is read lazily. It
    raises a `FormatError` later if it is not UTF-8, has a broken line, or is a JSON array. Raises
    `InputError` if there is no file at the path, or the argument is not UTF-8.
    """
    if source == "-":
        return _read_stream(sys.stdin.buffer, "standard input")
    try:
        source.encode()
    except UnicodeEncodeError as error:  # Python has such bytes of the command line as surrogates
        raise InputError(
            f"the argument is not UTF-8 from position {error.start} on: save the text as UTF-8 in "
            "a file, and give that, or pipe it in with -",
            code="argument-not-utf8",
        ) from error
    if _is_file(source):
        return _read_file(source)
    if _is_folder(source):
        raise InputError(
            f"{source} is a folder: give it to `tagalong prelabel` with --out, or pipe it in with "
            "- if it is a text",
            code="source-is-folder",
        )
    if _looks_like_path(source):
        raise InputError(
            f"there is no file {source}: correct the path, or pipe it in with - if it is a text",
            code="source-file-missing",
        )
    return iter([Document("text", source)])


def _is_file(source: str) -> bool:
    # A pipe counts too. Some systems raise an error for a path as long as a text.
    with suppress(OSError, ValueError):
        return Path(source).exists() and not Path(source).is_dir()
    return False


def _is_folder(source: str) -> bool:
    with suppress(OSError, ValueError):
        return bool(source) and Path(source).is_dir()
    return False


def _looks_like_path(source: str) -> bool:
    # A text without white space that has a folder separator or the suffix of a file.
    if not source or any(map(str.isspace, source)):
        return False
    separators = {"/", os.sep}
    return not separators.isdisjoint(source) or source.lower().endswith(FILE_SUFFIXES)


def _read_file(path: str) -> Iterator[Document]:
    if Path(path).suffix.lower() in TABLE_SUFFIXES:
        from tagalong.backend.batch.files import FileSource

        with FileSource(Path(path)) as source:
            yield from (item.document for item in source if item.document is not None)
        return
    with Path(path).open("rb") as file:
        yield from _read_stream(file, path)


def _read_stream(stream: IO[bytes], name: str) -> Iterator[Document]:
    # JSON lines are read one by one as they arrive, plain text as a whole.
    first = stream.readline()
    if first.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        for where, line in parse_lines(split_lines(chain((first,), stream)), name):
            yield document_text_from_json(line, where)
        return
    content = first + stream.read()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{name} is not UTF-8 text: save it as UTF-8", code="source-not-utf8"
        ) from error
    check_utf8(BytesIO(content), name)  # refuses NUL too
    if _is_json_array(text):
        raise FormatError(
            f"{name} is a JSON array, as Label Studio exports it, and not a text: turn it into "
            "JSON lines first (tagalong data convert EXPORT --out texts.jsonl), or write one "
            '{"text"} a line',
            code="source-is-json-array",
        )
    yield Document(name, text)


def _is_json_array(text: str) -> bool:
    # Also an array that breaks off; "[Article in French]" is none.
    if not text.lstrip().startswith("["):
        return False
    if JSON_ARRAY_START_PATTERN.match(text):
        return True
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def render_prediction(document: Document, prediction: Prediction, labels: Sequence[str]) -> Text:
    """Mark the entities in their text; the order of `labels` gives the colours.

    Label and score follow every entity, so that it is readable without colours too. Control
    characters become escapes.
    """
    rendered, end = Text(), 0
    for span in prediction.spans:
        colour = LABEL_COLOURS[labels.index(span.label) % len(LABEL_COLOURS)]
        rendered.append(escape_control_characters(document.text[end : span.start]))
        rendered.append(escape_control_characters(document.span_text(span)), style=f"bold {colour}")
        rendered.append(f"[{span.label} {span.score:.2f}]", style=f"dim {colour}")
        end = span.end
    rendered.append(escape_control_characters(document.text[end:]))
    return rendered
