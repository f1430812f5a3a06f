"""JSON lines: documents of our own, and the predictions of any tool read as if they were."""

from collections.abc import Iterator
from dataclasses import replace

from backend.jsonlines import (
    parse_lines,
    prediction_from_json,
    regions_from_json,
    text_from_json,
    unknown_from_json,
)
from ner.document import Document
from training.corpus.fit import fit_regions
from training.corpus.formats import Format, ReadOptions
from training.corpus.ledger import Ledger
from training.corpus.peek import Peek, open_text


def recognise_documents(start: Peek) -> bool:
    """Whether a file holds documents that people annotated.

    Args:
        start: What the start of the file tells.

    Returns:
        True when the first line has text and entities, and no model version.
    """
    return has_entities(start) and "model_version" not in start.first


def recognise_predictions(start: Peek) -> bool:
    """Whether a file holds predictions.

    Args:
        start: What the start of the file tells.

    Returns:
        True when the first line has text, entities and a model version.
    """
    return has_entities(start) and "model_version" in start.first


def has_entities(start: Peek) -> bool:
    """Whether a file holds texts and their entities.

    Args:
        start: What the start of the file tells.

    Returns:
        True when the first line has a text and entities of our shape, or none.
    """
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
