"""BioC XML: a collection of documents.

A file is read as a stream, one document at a time. Nothing outside the file is read, and a file
that declares entities is refused: they can make a small file fill the memory.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from bioc.biocxml.encoder import encode_document
from lxml import etree

from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.formats.bioc import ADVICE, document_to_bioc, parse_bioc_document
from tagalong.backend.formats.file_format import FileFormat, FormatWriter, SerializedDocument
from tagalong.backend.formats.sniff import FileHead
from tagalong.backend.formats.standoff import (
    REPLACEMENT_CHARACTER,
    StandoffDocument,
    check_id,
    check_label,
    read_standoff,
    read_standoff_texts,
)
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.ner.document import Document
from tagalong.ner.errors import FormatError

SNIFFED_BYTES = 4096  # a file may have no line ends
START_PATTERN = re.compile(rb"<!DOCTYPE\s+collection\b|<(?:\w+:)?collection[\s>]")
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
INNER_TAGS = ("passage", "sentence", "annotation", "relation", "location")
TEXT_TAGS = ("id", "offset", "text")
HEADER = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE collection SYSTEM "BioC.dtd">
<collection><source>Tagalong</source><date></date><key></key>
"""


def is_bioc_xml(head: FileHead) -> bool:
    """Whether XML begins with a collection."""
    start = head.file.open_stream().read(SNIFFED_BYTES) if head.structure == "text" else b""
    return start.lstrip().startswith(b"<") and START_PATTERN.search(start) is not None


def _read_documents(head: FileHead, import_log: ImportLog) -> Iterator[StandoffDocument]:
    for number, element in enumerate(_stream_elements(head), start=1):
        where = f"{head.path}, line {element.sourceline}"
        if next(element.iter(etree.Entity), None) is not None:
            raise _entity_error(where)
        yield parse_bioc_document(_to_json(element), where, str(number), import_log)


def _stream_elements(head: FileHead) -> Iterator[Any]:
    events = etree.iterparse(
        head.file.open_stream(),
        events=("start", "end"),
        tag=("{*}collection", "{*}document"),  # with a namespace or without
        encoding="utf-8",  # the bytes are, whatever the declaration says
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
    )
    try:
        for event, element in events:
            if event == "start":
                subset = element.getroottree().docinfo.internalDTD
                if subset is not None and next(subset.iterentities(), None) is not None:
                    raise _entity_error(str(head.path))
            elif etree.QName(element).localname == "document":
                yield element
                element.clear()
                while element.getprevious() is not None:  # else the tree would grow
                    del element.getparent()[0]
    except etree.XMLSyntaxError as error:
        raise FormatError(
            f"{head.path} is not XML, or breaks off ({error.msg}): export it again",
            code="xml-broken",
        ) from error


def _entity_error(where: str) -> FormatError:
    return FormatError(
        f"{where} has entities of its own, which are not read: write their characters instead",
        code="xml-with-entities",
    )


def _to_json(element: Any) -> dict[str, Any]:
    # The form of BioC JSON.
    value: dict[str, Any] = dict(element.attrib)
    value["infons"] = {one.get("key", ""): _text(one) for one in element.iterfind("{*}infon")}
    for tag in TEXT_TAGS:
        if (child := element.find(f"{{*}}{tag}")) is not None:
            value[tag] = _text(child)
    for tag in INNER_TAGS:
        value[f"{tag}s"] = [_to_json(one) for one in element.iterfind(f"{{*}}{tag}")]
    return value


def _text(element: Any) -> str:
    return "".join(element.itertext())


def _serialize(document: Document, _config: LabelConfig) -> SerializedDocument:
    is_valid = bool(document.id) and NOT_XML.search(document.id) is None
    check_id(document.id, is_valid=is_valid, format_name="BioC XML")
    for label in {span.label for span in document.spans}:
        is_valid = bool(label) and NOT_XML.search(label) is None
        check_label(label, is_valid=is_valid, format_name="BioC XML")
    text, count = NOT_XML.subn(REPLACEMENT_CHARACTER, document.text)
    element = encode_document(document_to_bioc(Document(document.id, text, document.spans)))
    return SerializedDocument(
        etree.tostring(element, encoding="unicode") + "\n",
        masked_range_count=len(document.masked_ranges),
        replaced_characters=count,
    )


def _join(documents: Iterable[str]) -> Iterator[str]:
    yield HEADER
    yield from documents
    yield "</collection>\n"


BIOC_XML_FORMAT = FileFormat(
    name="BioC XML",
    matches=is_bioc_xml,
    read_annotations=read_standoff(_read_documents, ADVICE),
    read_texts=read_standoff_texts(_read_documents),
    writer=FormatWriter(
        option="bioc-xml",
        description="BioC XML",
        serialize=_serialize,
        join=_join,
        replacement="characters that XML cannot hold are in it as U+FFFD",
    ),
)
