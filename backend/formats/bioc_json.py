"""BioC JSON: one collection, an array or lines of documents or collections."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bioc import biocjson

from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.documents.jsonl import Record
from tagalong.backend.formats.bioc import (
    ADVICE,
    document_to_bioc,
    iterate_documents,
    parse_bioc_document,
)
from tagalong.backend.formats.file_format import FileFormat, FormatWriter, SerializedDocument
from tagalong.backend.formats.json_items import stream_array_items
from tagalong.backend.formats.records import read_records, refuse_other_kinds
from tagalong.backend.formats.sniff import FileHead
from tagalong.backend.formats.standoff import (
    StandoffDocument,
    check_id,
    read_standoff,
    read_standoff_texts,
)
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.ner.document import Document
from tagalong.ner.errors import FormatError

COLLECTION_KEYS = frozenset({"source", "date", "key", "infons", "bioctype"})
PUBTATOR_KEY = "PubTator3"  # around the documents of that service
SHAPE = '{"id", "passages": [{"offset", "text", "annotations"}]}'
HEADER = '{"source": "Tagalong", "date": "", "key": "", "infons": {}, "documents": ['


def is_bioc_json(head: FileHead) -> bool:
    """Whether the first record is a collection, or a document with passages."""
    keys = head.first_record.keys()
    is_collection = "documents" in keys and bool(keys & COLLECTION_KEYS)
    is_document = "passages" in keys and "document_id" not in keys  # BigBio has passages of its own
    return is_collection or PUBTATOR_KEY in keys or is_document


def _read_documents(head: FileHead, import_log: ImportLog) -> Iterator[StandoffDocument]:
    return refuse_other_kinds(_read_each(head, import_log))


def _read_each(head: FileHead, import_log: ImportLog) -> Iterator[StandoffDocument]:
    number = 0
    for record in _read_records(head):
        try:
            documents = [*_iterate_documents(record)]
        except FormatError as error:
            number += 1
            yield StandoffDocument(str(number), "", error=error)
            continue
        for document in documents:
            number += 1
            place = record.where if head.structure == "lines" else f"{head.path}, document {number}"
            yield parse_bioc_document(document, place, str(number), import_log)


def _iterate_documents(record: Record) -> Iterator[Mapping[str, Any]]:
    fields = record.fields
    around = {"documents": fields[PUBTATOR_KEY]} if PUBTATOR_KEY in fields else fields
    return iterate_documents(around, record.where)


def _read_records(head: FileHead) -> Iterator[Record]:
    # Streams of documents where that can be: a collection may be larger than the memory.
    keys = head.first_record.keys()
    paths = {"documents": "documents.item", PUBTATOR_KEY: f"{PUBTATOR_KEY}.item"}
    inner = next((path for key, path in paths.items() if key in keys), "")
    if head.structure == "lines" or (head.structure == "array" and not inner):
        yield from read_records(head, SHAPE)
        return
    parts = ["item"] * (head.structure == "array") + [inner] * bool(inner)
    for value in stream_array_items(head.file, ".".join(parts)):
        yield Record(str(head.path), SHAPE, value)


def _serialize(document: Document, _config: LabelConfig) -> SerializedDocument:
    check_id(document.id, is_valid=bool(document.id), format_name="BioC JSON")
    content = json.dumps(biocjson.toJSON(document_to_bioc(document)), ensure_ascii=False)
    return SerializedDocument(content, masked_range_count=len(document.masked_ranges))


def _join(documents: Iterable[str]) -> Iterator[str]:
    yield HEADER
    for number, document in enumerate(documents):
        yield f"{',' if number else ''}\n{document}"
    yield "\n]}\n"


BIOC_JSON_FORMAT = FileFormat(
    name="BioC JSON",
    matches=is_bioc_json,
    read_annotations=read_standoff(_read_documents, ADVICE),
    read_texts=read_standoff_texts(_read_documents),
    writer=FormatWriter(
        option="bioc-json", description="BioC JSON", serialize=_serialize, join=_join
    ),
)
