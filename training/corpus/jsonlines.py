"""JSON lines: documents of our own, and the predictions of any tool."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from backend.jsonlines import (
    parse_lines,
    prediction_from_json,
    regions_from_json,
    text_from_json,
    unknown_from_json,
)
from ner.document import Document, Prediction
from ner.errors import FormatError
from training.corpus.fit import fit_regions
from training.corpus.formats import Format, ReadOptions
from training.corpus.ledger import Ledger
from training.corpus.peek import Peek, open_text, peek


def recognise_documents(start: Peek) -> bool:
    """Whether a file holds documents that people annotated.

    Args:
        start: What the start of the file tells.

    Returns:
        True when the first line has text and entities, and no model version.
    """
    return _has_entities(start) and "model_version" not in start.first


def recognise_predictions(start: Peek) -> bool:
    """Whether a file holds predictions.

    Args:
        start: What the start of the file tells.

    Returns:
        True when the first line has text, entities and a model version.
    """
    return _has_entities(start) and "model_version" in start.first


def _has_entities(start: Peek) -> bool:
    """Whether the first line has text and entities of our shape, or none."""
    entities = start.first.get("entities")
    return (
        start.shape == "lines"
        and isinstance(start.first.get("text"), str)
        and isinstance(entities, list)
        and all(isinstance(entity, dict) and "start" in entity for entity in entities[:1])
    )


def read_documents(start: Peek, options: ReadOptions, ledger: Ledger) -> Iterator[Document]:
    """Read documents.

    Args:
        start: What the start of the file tells.
        options: How to read; of it only the labelling config matters.
        ledger: Gets what is lost, and what had to be judged.

    Yields:
        A document per line.

    Raises:
        FormatError: If a line is not a document.
    """
    with open_text(start.path) as file:
        for where, line in parse_lines(file, str(start.path)):
            document = text_from_json(line, where)
            regions = regions_from_json(line, where)
            spans = fit_regions(document, regions, config=options.config, ledger=ledger)
            unknown = unknown_from_json(line, document, where)
            yield replace(document, spans=spans, unknown=unknown)


def read_predicted_documents(
    start: Peek, options: ReadOptions, ledger: Ledger
) -> Iterator[Document]:
    """Read predictions as if they were annotations, and warn.

    Args:
        start: What the start of the file tells.
        options: How to read; of it only the labelling config matters.
        ledger: Gets what is lost, and what had to be judged.

    Yields:
        A document per line; its meta holds the model version and the score.

    Raises:
        FormatError: If a line is not a prediction.
    """
    with open_text(start.path) as file:
        for where, line in parse_lines(file, str(start.path)):
            document, prediction = prediction_from_json(line, where)
            regions = regions_from_json(line, where)
            spans = fit_regions(document, regions, config=options.config, ledger=ledger)
            ledger.warn("made by a model", f"{document.id}: {prediction.version}")
            meta = {"model_version": prediction.version, "score": prediction.score}
            yield replace(document, spans=spans, meta={**document.meta, **meta})


DOCUMENTS = Format("JSON lines", recognise_documents, read_documents)
PREDICTIONS = Format("predictions in JSON lines", recognise_predictions, read_predicted_documents)


def read_predictions(path: Path) -> list[tuple[Document, Prediction]]:
    """Read a file of predictions, ours or any other tool's.

    Args:
        path: JSON lines; scores and model version may be missing.

    Returns:
        For each line the document, without spans, and what was predicted for it.

    Raises:
        InputError: If the file cannot be read.
        FormatError: If it is not JSON lines with entities.
    """
    start = peek(path)
    if not _has_entities(start):
        raise FormatError(
            f'{path} is not a file of predictions: each line must be {{"id", "text", "entities"}}, '
            'with "score" and "model_version" where they are known'
        )
    with open_text(path) as file:
        return [prediction_from_json(line, where) for where, line in parse_lines(file, str(path))]
