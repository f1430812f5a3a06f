"""Texts without annotations: plain text, and JSON lines or arrays of texts and tasks."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tagalong.backend.documents.jsonl import LINE_SHAPE, Record, document_text_from_json
from tagalong.backend.documents.offsets import is_address
from tagalong.backend.documents.source_item import SourceItem
from tagalong.backend.formats.file_format import FileFormat
from tagalong.backend.formats.records import read_record_texts
from tagalong.backend.formats.sniff import FileHead, count_records
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.results import find_text_key, to_shown_text
from tagalong.backend.label_studio.task_text import TaskTextReader
from tagalong.ner.document import Document
from tagalong.ner.errors import FormatError

JSON_SUFFIXES = frozenset({".json", ".jsonl", ".ndjson"})
MARKUP_PATTERN = re.compile(r"\s*<(?:\?xml|!doctype|html)\b", re.IGNORECASE)


def read_json_texts(head: FileHead, config: LabelConfig | None) -> Iterator[SourceItem]:
    """Read objects with a "text", or Label Studio's tasks, of JSON lines or of a JSON array.

    An item without a readable text has the reason.
    """

    def parse(number: int, record: Record) -> Document:
        return _parse_document(record.name(number), record.fields, record.where, config)

    return read_record_texts(head, LINE_SHAPE, parse)


def read_plain_text(head: FileHead, _config: LabelConfig | None) -> Iterator[SourceItem]:
    """Read a file as one document, whose id is the file's name."""
    name = head.path.name
    yield SourceItem(0, name, Document(name, head.file.open_stream().read().decode()))


def _parse_document(
    key: str, fields: Mapping[str, Any], where: str, config: LabelConfig | None
) -> Document:
    if "data" not in fields:
        document = document_text_from_json(fields, where)
        return Document(key, document.text, meta=document.meta)
    if config is not None:
        return TaskTextReader().read_document({"id": key, "data": fields["data"]}, config)
    data = fields["data"]
    name = find_text_key(data, where)
    text = to_shown_text(data[name]) or ""
    if is_address(text):
        raise FormatError(
            f"{where} holds the address of its text: give --label-config with the project's "
            'labelling config and its valueType="url", or import the plain text',
            code="text-is-address",
        )
    return Document(key, text)


def _is_plain_text(head: FileHead) -> bool:
    # JSON that nobody can read, and markup, are no texts.
    is_other = head.path.suffix.lower() in JSON_SUFFIXES or any(
        MARKUP_PATTERN.match(line) for line in head.head_lines[:1]
    )
    return head.structure == "text" and not head.parse_error and not is_other


JSON_TEXT_FORMAT = FileFormat(
    name="JSON with a text in each line or item",
    matches=lambda head: head.structure in ("lines", "array"),
    read_texts=read_json_texts,
    count=count_records,
)
PLAIN_TEXT_FORMAT = FileFormat(
    name="plain text",
    matches=_is_plain_text,
    read_texts=read_plain_text,
)
