"""doccano's JSON of sequence labelling: JSON lines, or an array of the same objects.

Its releases name things differently (https://doccano.github.io/doccano). The text is ``text`` or
``data``. Annotations are ``[start, end, label]`` under ``label`` or ``labels``. With relations,
they are objects with ``start_offset`` and ``end_offset``. The other keys of a record are its meta.
doccano itself states no texts of annotations. Objects of other tools may state a ``text``.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from tagalong.backend.annotations.annotated_task import StatedDocument
from tagalong.backend.annotations.annotators import read_by_evidence
from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.documents.jsonl import Record
from tagalong.backend.documents.offsets import RawSpan
from tagalong.backend.documents.source_item import SourceItem
from tagalong.backend.formats.file_format import (
    FileFormat,
    FormatWriter,
    ReadOptions,
    SerializedDocument,
)
from tagalong.backend.formats.records import (
    document_from_record,
    join_lines,
    list_from_record,
    name_document,
    parse_each,
    raw_span_from_record,
    read_record_texts,
    read_records,
    record_id,
    serialize_record,
    stated_text,
)
from tagalong.backend.formats.sniff import FileHead, count_records
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.ner.document import Document
from tagalong.ner.errors import FormatError

TEXT_KEYS = ("text", "data")  # the first counts
SPAN_KEYS = ("label", "labels", "entities", "annotations")  # the last: of old releases
OWN_KEYS = frozenset({"id", "meta", "relations", *TEXT_KEYS, *SPAN_KEYS})
DOCCANO_SHAPE = '{"text", "label": [[start, end, label]]}'


def is_doccano(head: FileHead) -> bool:
    """Whether the first record has a text, and a list of annotations of doccano's shape."""
    record = head.first_record
    if not any(isinstance(record.get(key), str) for key in TEXT_KEYS):
        return False
    if isinstance(entities := record.get("entities"), list):
        # An empty list is in our own JSON lines too.
        offsets = (isinstance(one, dict) and "start_offset" in one for one in entities[:1])
        return any(offsets) or "relations" in record
    old = record.get("annotations")
    if isinstance(old, list) and old and isinstance(old[0], dict) and "start_offset" in old[0]:
        return isinstance(old[0].get("label"), str)  # numbers stand for labels in some releases
    lists = [record[key] for key in SPAN_KEYS if _is_list(record.get(key))]
    return bool(lists) and all(_is_list(one) and len(one) == 3 for one in lists[0][:1])


def read_doccano(head: FileHead, options: ReadOptions, import_log: ImportLog) -> Iterator[Document]:
    """Read a document from each record; relations are counted and left out."""

    def read(log: ImportLog) -> Iterator[StatedDocument]:
        return parse_each(read_records(head, DOCCANO_SHAPE), partial(_parse_record, head, log), log)

    return read_by_evidence(read, config=options.label_config, import_log=import_log)


def read_doccano_texts(head: FileHead, _config: LabelConfig | None) -> Iterator[SourceItem]:
    """Read the text of each record; one that cannot be read has the reason."""
    return read_record_texts(head, DOCCANO_SHAPE, partial(_parse_document, head))


def _parse_record(
    head: FileHead, import_log: ImportLog, number: int, record: Record
) -> Iterator[StatedDocument]:
    document = _parse_document(head, number, record)
    raw_spans = _parse_raw_spans(record.fields, record.where)
    if isinstance(relations := record.fields.get("relations"), list) and relations:
        import_log.record_warning("relation", document.id, count=len(relations))
    yield document, raw_spans


def _parse_document(head: FileHead, number: int, record: Record) -> Document:
    fields = record.fields
    text = next((fields[key] for key in TEXT_KEYS if isinstance(fields.get(key), str)), None)
    meta = {key: value for key, value in fields.items() if key not in OWN_KEYS}
    nested = fields.get("meta")
    meta = {**nested, **meta} if isinstance(nested, dict) else meta
    name = record_id(fields, name_document(head, number))
    return document_from_record(name, text, meta, record.where, DOCCANO_SHAPE)


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _parse_raw_spans(record: Mapping[str, Any], where: str) -> list[RawSpan]:
    key = next((key for key in SPAN_KEYS if key in record), SPAN_KEYS[0])
    raw_spans = []
    for entry in list_from_record(record, key, where, DOCCANO_SHAPE):
        text = ""
        match entry:
            case [start, end, label]:
                pass
            case {"start_offset": start, "end_offset": end, "label": label}:
                text = stated_text(entry)
            case _:
                raise FormatError(
                    f"{where} has the annotation {entry!r:.60}, but should be {DOCCANO_SHAPE}: "
                    "export a project of sequence labelling",
                    code="doccano-annotation-invalid",
                )
        raw_spans.append(raw_span_from_record(start, end, label, where, DOCCANO_SHAPE, text))
    return raw_spans


def _serialize(document: Document, _config: LabelConfig) -> SerializedDocument:
    spans = [[span.start, span.end, span.label] for span in document.spans]
    record: dict[str, Any] = {"id": document.id, "text": document.text, "label": spans}
    return serialize_record(document, record)


DOCCANO_FORMAT = FileFormat(
    name="doccano",
    matches=is_doccano,
    read_annotations=read_doccano,
    read_texts=read_doccano_texts,
    count=count_records,
    writer=FormatWriter(
        option="doccano",
        description="doccano's JSON lines",
        serialize=_serialize,
        join=join_lines,
    ),
)
