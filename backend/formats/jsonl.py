"""JSON lines: one annotated or predicted document a line, the format that loses nothing."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

from tagalong.backend.annotations.annotated_task import StatedDocument
from tagalong.backend.annotations.annotators import read_by_evidence
from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.documents.jsonl import (
    LINE_SHAPE,
    PredictedDocument,
    Record,
    document_text_from_json,
    document_to_json,
    masked_ranges_from_json,
    predicted_document_from_json,
    prediction_to_json,
    raw_spans_from_json,
)
from tagalong.backend.documents.offsets import RawSpan
from tagalong.backend.formats.file_format import (
    FileFormat,
    FormatWriter,
    ReadOptions,
    SerializedDocument,
)
from tagalong.backend.formats.records import join_lines, parse_each, read_records
from tagalong.backend.formats.sniff import FileHead, count_records
from tagalong.backend.formats.texts import read_json_texts
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.results import split_texts
from tagalong.ner.document import Document, Prediction


def has_entities(head: FileHead) -> bool:
    """Whether the first line has a text and entities of our shape, or an empty list of them."""
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
    """Read a document from each line; an odd line is set aside."""

    def parse(_number: int, record: Record) -> Iterator[StatedDocument]:
        document = document_text_from_json(record.fields, record.where)
        raw_spans = raw_spans_from_json(record.fields, record.where)
        for start, end in masked_ranges_from_json(record.fields, document, record.where):
            raw_spans.append(RawSpan(start, end, (), is_part=True))
        yield document, raw_spans

    return read_by_evidence(
        lambda log: parse_each(read_records(head, LINE_SHAPE), parse, log),
        config=options.label_config,
        import_log=import_log,
    )


def read_predicted_documents(
    head: FileHead, options: ReadOptions, import_log: ImportLog
) -> Iterator[Document]:
    """Read predictions like annotations, with a warning; the meta has version and score."""

    def read(log: ImportLog) -> Iterator[StatedDocument]:
        for document, raw_spans in _parse_predictions(head, log):
            log.record_warning("made by a model", f"{document.id}: {document.version}")
            meta = {"model_version": document.version, "score": document.score}
            yield replace(document, meta={**document.meta, **meta}), raw_spans

    return read_by_evidence(read, config=options.label_config, import_log=import_log)


def read_line_predictions(
    head: FileHead, options: ReadOptions, import_log: ImportLog
) -> Iterator[Document]:
    """Read a prediction of any tool from each line; scores and version may be missing."""
    return read_by_evidence(
        partial(_parse_predictions, head), config=options.label_config, import_log=import_log
    )


def _parse_predictions(
    head: FileHead, import_log: ImportLog
) -> Iterator[tuple[PredictedDocument, list[RawSpan]]]:
    def parse(_: int, record: Record) -> Iterator[tuple[PredictedDocument, list[RawSpan]]]:
        document = predicted_document_from_json(record.fields, record.where)
        yield document, raw_spans_from_json(record.fields, record.where)

    return parse_each(read_records(head, LINE_SHAPE), parse, import_log)


def documents_to_jsonl(documents: Iterable[Document]) -> Iterator[str]:
    """Write documents as JSON lines, line feeds included."""
    for document in documents:
        yield json.dumps(document_to_json(document), ensure_ascii=False) + "\n"


def _serialize(document: Document, _config: LabelConfig) -> SerializedDocument:
    return SerializedDocument(json.dumps(document_to_json(document), ensure_ascii=False))


def _serialize_prediction(document: Document, prediction: Prediction, config: LabelConfig) -> str:
    # A line for each text of a task, as exports are read.
    parts = split_texts(document, prediction, config)
    return "\n".join(json.dumps(prediction_to_json(*part), ensure_ascii=False) for part in parts)


JSON_LINES_FORMAT = FileFormat(
    name="JSON lines",
    matches=lambda head: has_entities(head) and "model_version" not in head.first_record,
    read_annotations=read_documents,
    read_texts=read_json_texts,
    read_predictions=read_line_predictions,
    count=count_records,
    writer=FormatWriter(
        option="jsonl",
        description="JSON lines",
        serialize=_serialize,
        serialize_prediction=_serialize_prediction,
        join=join_lines,
        suffix=".jsonl",
    ),
)
PREDICTIONS_FORMAT = FileFormat(
    name="predictions in JSON lines",
    matches=lambda head: has_entities(head) and "model_version" in head.first_record,
    read_annotations=read_predicted_documents,
    read_texts=read_json_texts,
    read_predictions=read_line_predictions,
    count=count_records,
)
