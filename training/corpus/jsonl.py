"""JSON lines: documents of our own, and the predictions of any tool read as if they were."""

from collections.abc import Iterator
from dataclasses import replace

from tagalong.backend.documents.jsonl import (
    document_text_from_json,
    masked_ranges_from_json,
    parse_lines,
    prediction_from_json,
    raw_spans_from_json,
)
from tagalong.ner.document import Document
from tagalong.training.corpus.formats import CorpusFormat, ReadOptions
from tagalong.training.corpus.import_log import ImportLog
from tagalong.training.corpus.sniff import FileHead, open_text
from tagalong.training.corpus.span_validation import validate_raw_spans


def is_documents_file(head: FileHead) -> bool:
    """Whether a file holds documents that people annotated.

    Args:
        head: What the start of the file tells.

    Returns:
        True when the first line has text and entities, and no model version.
    """
    return has_entities(head) and "model_version" not in head.first_record


def is_predictions_file(head: FileHead) -> bool:
    """Whether a file holds predictions.

    Args:
        head: What the start of the file tells.

    Returns:
        True when the first line has text, entities and a model version.
    """
    return has_entities(head) and "model_version" in head.first_record


def has_entities(head: FileHead) -> bool:
    """Whether a file holds texts and their entities.

    Args:
        head: What the start of the file tells.

    Returns:
        True when the first line has a text and entities of our shape, or none.
    """
    entities = head.first_record.get("entities")
    return (
        head.structure == "lines"
        and isinstance(head.first_record.get("text"), str)
        and isinstance(entities, list)
        and all(isinstance(entity, dict) and "start" in entity for entity in entities[:1])
    )


def read_documents(
    head: FileHead, options: ReadOptions, import_log: ImportLog
) -> Iterator[Document]:
    """Read documents.

    Args:
        head: What the start of the file tells.
        options: How to read; of it only the labelling config matters.
        import_log: Gets what is lost, and what had to be judged.

    Yields:
        A document per line.

    Raises:
        FormatError: If a line is not a document.
    """
    with open_text(head.path) as file:
        for where, line in parse_lines(file, str(head.path)):
            document = document_text_from_json(line, where)
            regions = raw_spans_from_json(line, where)
            spans = validate_raw_spans(
                document, regions, config=options.label_config, import_log=import_log
            )
            unknown = masked_ranges_from_json(line, document, where)
            yield replace(document, spans=spans, masked_ranges=unknown)


def read_predicted_documents(
    head: FileHead, options: ReadOptions, import_log: ImportLog
) -> Iterator[Document]:
    """Read predictions as if they were annotations, and warn.

    Args:
        head: What the start of the file tells.
        options: How to read; of it only the labelling config matters.
        import_log: Gets what is lost, and what had to be judged.

    Yields:
        A document per line; its meta holds the model version and the score.

    Raises:
        FormatError: If a line is not a prediction.
    """
    with open_text(head.path) as file:
        for where, line in parse_lines(file, str(head.path)):
            document, prediction = prediction_from_json(line, where)
            regions = raw_spans_from_json(line, where)
            spans = validate_raw_spans(
                document, regions, config=options.label_config, import_log=import_log
            )
            import_log.record_warning("made by a model", f"{document.id}: {prediction.version}")
            meta = {"model_version": prediction.version, "score": prediction.score}
            yield replace(document, spans=spans, meta={**document.meta, **meta})


DOCUMENTS_FORMAT = CorpusFormat("JSON lines", is_documents_file, read_documents)
PREDICTIONS_FORMAT = CorpusFormat(
    "predictions in JSON lines", is_predictions_file, read_predicted_documents
)
