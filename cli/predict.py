"""``tagalong predict``: entities of a text, a file or standard input, coloured or as JSON lines."""

import json
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import IO, Annotated

import typer
from rich.text import Text

from backend.jsonlines import parse_lines, prediction_to_json, text_from_json
from cli.console import console
from cli.options import Models, open_store
from ner.document import Document, Prediction
from ner.errors import FormatError

CHUNK = 64  # documents predicted at once: lines of a long file come out as it is read
COLOURS = ("cyan", "yellow", "magenta", "green", "blue", "red")  # by order of label


def predict_cli(
    source: Annotated[
        str,
        typer.Argument(
            metavar="TEXT|FILE|-",
            help="A text, or a file or standard input (-) with plain text or with JSON lines "
            'that have a "text".',
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(help="A model version. [default: the current encoder, else the bundled one]"),
    ] = None,
    models: Models = Path("models"),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per document.")
    ] = False,
) -> None:
    """Find the entities of texts.

    Example: tagalong predict "Naloxone reverses the antihypertensive effect of clonidine."
    """
    from backend.tier import load_tier

    store = open_store(models)
    tier = load_tier(store.resolve(model or store.default()))
    documents = read_source(source)
    while chunk := list(islice(documents, CHUNK)):
        for document, prediction in zip(chunk, tier.predict(chunk), strict=True):
            if as_json:
                # Not through Rich, which would wrap and colour what another program is to read.
                sys.stdout.write(json.dumps(prediction_to_json(document, prediction)) + "\n")
            else:
                console.print(render_prediction(document, prediction, tier.labels), soft_wrap=True)
        sys.stdout.flush()


def read_source(source: str) -> Iterator[Document]:
    """Read what is to be predicted.

    Args:
        source: A text, a file's path, or ``-`` for standard input.

    Yields:
        One document for plain text, one per line for JSON lines.

    Raises:
        FormatError: If a file is not UTF-8, or a line of JSON lines is broken.
    """
    if source == "-":
        yield from _read_stream(sys.stdin.buffer, "standard input")
    elif _is_file(source):
        with Path(source).open("rb") as file:
            yield from _read_stream(file, source)
    else:
        yield Document("text", source)


def _is_file(source: str) -> bool:
    """Whether a text is the path of a file; about a long text some systems refuse to say."""
    try:
        return Path(source).is_file()
    except (OSError, ValueError):
        return False


def _read_stream(stream: IO[bytes], name: str) -> Iterator[Document]:
    """JSON lines as soon as each is there, or plain text once all of it is."""
    first = stream.readline()
    if first.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        for where, line in parse_lines(chain((first,), stream), name):
            yield text_from_json(line, where)
        return
    try:
        yield Document(name, (first + stream.read()).decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise FormatError(f"{name} is not UTF-8 text: save it as UTF-8") from error


def render_prediction(document: Document, prediction: Prediction, labels: Sequence[str]) -> Text:
    """Draw the entities in their text.

    Args:
        document: The text.
        prediction: What was found in it.
        labels: Of the model; their order gives the colours.

    Returns:
        The text with every entity coloured and followed by its label and score, which can be told
        without colours too.
    """
    drawn = Text()
    end = 0
    for span in prediction.spans:
        colour = COLOURS[labels.index(span.label) % len(COLOURS)]
        drawn.append(document.text[end : span.start])
        drawn.append(document.covered(span), style=f"bold {colour}")
        drawn.append(f"[{span.label} {span.score:.2f}]", style=f"dim {colour}")
        end = span.end
    drawn.append(document.text[end:])
    return drawn
