"""BioC JSON: one collection, an array or lines of documents or collections."""

import json
from collections.abc import Iterable, Iterator

from bioc import biocjson

from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.documents.jsonl import parse_lines
from tagalong.backend.formats.bioc import (
    ADVICE,
    document_to_bioc,
    iterate_documents,
    parse_bioc_document,
)
from tagalong.backend.formats.file_format import FileFormat, FormatWriter, SerializedDocument
from tagalong.backend.formats.sniff import FileHead, stream_array_items
from tagalong.backend.formats.standoff import (
    StandoffDocument,
    check_id,
    read_standoff,
    read_standoff_texts,
)
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.ner.document import Document

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
    number = 0
    for where, value in _read_records(head):
        for document in iterate_documents(value, where):
            number += 1
            place = where if head.structure == "lines" else f"{head.path}, document {number}"
            yield parse_bioc_document(document, place, str(number), import_log)


def _read_records(head: FileHead) -> Iterator[tuple[str, object]]:
    # Streams of documents where that can be: a collection may be larger than the memory.
    keys = head.first_record.keys()
    if head.structure == "lines":
        for where, line in parse_lines(head.file.open_lines(), str(head.path), SHAPE):
            yield where, {"documents": line[PUBTATOR_KEY]} if PUBTATOR_KEY in line else line
        return
    paths = {"documents": "documents.item", PUBTATOR_KEY: f"{PUBTATOR_KEY}.item"}
    inner = next((path for key, path in paths.items() if key in keys), "")
    parts = ["item"] * (head.structure == "array") + [inner] * bool(inner)
    for value in stream_array_items(head.file, ".".join(parts)):
        yield str(head.path), value


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
