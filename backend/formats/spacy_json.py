"""spaCy's JSON: training data of spaCy 2 and 3, and documents as ``Doc.to_json`` writes them.

An item is one of

- ``[text, {"entities": [[start, end, label]]}]``, spaCy 2's training data, which is also written;
- ``{"text", "entities": [[start, end, label]]}``, the same as an object;
- ``{"text", "ents": [{"start", "end", "label"}]}`` of ``Doc.to_json``;
- ``{"id", "paragraphs"}`` of ``spacy convert``, with tokens and BILUO tags.

Items are in an array or one a line. They may also be the ``annotations`` of an object with
``classes``, which annotation tools for spaCy export.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from tagalong.backend.annotations.annotated_task import StatedDocument
from tagalong.backend.annotations.annotators import read_by_evidence
from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.documents.jsonl import Record, read_lines
from tagalong.backend.documents.offsets import RawSpan
from tagalong.backend.documents.source_item import SourceItem
from tagalong.backend.formats.file_format import (
    FileFormat,
    FormatWriter,
    ReadOptions,
    SerializedDocument,
)
from tagalong.backend.formats.json_items import stream_array_items
from tagalong.backend.formats.records import (
    choose_flat_spans,
    document_from_record,
    join_array,
    list_from_record,
    name_document,
    parse_each,
    raw_span_from_record,
    read_records,
    record_id,
    stated_text,
)
from tagalong.backend.formats.sniff import FileHead
from tagalong.backend.formats.tagging_schemes import OUTSIDE, Tag, decode_entities, parse_tag
from tagalong.backend.formats.token_text import align_tokens
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.ner.document import Document
from tagalong.ner.errors import FormatError, InputError

PARAGRAPH_SHAPE = '{"sentences": [{"tokens": [{"orth", "ner"}]}]}'
SPACY_SHAPE = '[text, {"entities": [[start, end, label]]}]'
SPAN_GROUP = "sc"  # of spaCy's span categorizer
MISSING_TAG = "-"  # of a token whose annotation is unknown
TOOL_KEYS = frozenset({"classes", "annotations"})  # of an object around the items


def is_spacy_json(head: FileHead) -> bool:
    """Whether the first item has a shape of spaCy's."""
    if head.structure == "object":
        keys = head.first_record.keys()  # their values are unknown
        return keys == TOOL_KEYS or "paragraphs" in keys or {"text", "ents"} <= keys
    if head.structure == "array" and not head.first_record:
        first = next(stream_array_items(head.file))
        return _is_pair(first) or _has_pair_lines(head)
    record = head.first_record
    if record.keys() == TOOL_KEYS:
        return isinstance(record["annotations"], list)
    if isinstance(record.get("paragraphs"), list):
        return True
    if not isinstance(record.get("text"), str):
        return False
    ents, entities = record.get("ents"), record.get("entities")
    has_triples = isinstance(entities, list) and all(_is_triple(one) for one in entities[:1])
    return isinstance(ents, list) or (has_triples and bool(entities))


def read_spacy_json(
    head: FileHead, options: ReadOptions, import_log: ImportLog
) -> Iterator[Document]:
    """Read a document from each item, or from each of its paragraphs."""

    def read(log: ImportLog) -> Iterator[StatedDocument]:
        def parse(number: int, record: Record) -> Iterator[StatedDocument]:
            name = name_document(head, number)
            if record.value is None:  # skipped by the annotator
                log.record_warning("task without annotation", name)
                return
            yield from (parsed := [*_parse_item(record.value, name, record.where)])
            for kind, count in _count_others(record.value).items():
                log.record_warning(kind, parsed[0][0].id, count=count)

        return parse_each(_read_items(head), parse, log)

    return read_by_evidence(read, config=options.label_config, import_log=import_log)


def read_spacy_json_texts(head: FileHead, _config: LabelConfig | None) -> Iterator[SourceItem]:
    """Read the texts of all items; one that cannot be read has the reason."""
    position = 0
    for number, record in enumerate(_read_items(head), start=1):
        name = name_document(head, number)
        try:
            for document, _ in [*_parse_item(record.value, name, record.where)]:
                yield SourceItem(position, document.id, document)
                position += 1
        except InputError as error:
            yield SourceItem(position, name, None, str(error))
            position += 1


def _read_items(head: FileHead) -> Iterator[Record]:
    is_wrapped = head.first_record.keys() == TOOL_KEYS
    if is_wrapped or head.structure == "object":
        items = stream_array_items(head.file, "annotations.item" if is_wrapped else "")
        for number, item in enumerate(items, start=1):
            yield Record(f"{head.path}, item {number}", SPACY_SHAPE, item)
    elif not head.first_record and _has_pair_lines(head):  # such a line is like an array
        yield from read_lines(head.file.open_lines(), str(head.path), SPACY_SHAPE)
    else:
        yield from read_records(head, SPACY_SHAPE)


def _is_pair(item: object) -> bool:
    match item:
        case [str(), {"entities": list()}]:
            return True
    return False


def _is_triple(entry: object) -> bool:
    return isinstance(entry, list) and len(entry) in (3, 4)  # the fourth is a knowledge base's id


def _has_pair_lines(head: FileHead) -> bool:
    first_line = next((line for line in head.head_lines if line.strip()), "")
    try:
        return _is_pair(json.loads(first_line))
    except (ValueError, RecursionError):
        return False


def _parse_item(item: Any, name: str, where: str) -> Iterator[StatedDocument]:
    match item:
        case [text, {"entities": list(entries)}]:
            document = document_from_record(name, text, {}, where, SPACY_SHAPE)
            yield document, [_parse_triple(entry, where) for entry in entries]
        case {"paragraphs": list(paragraphs)}:
            name = str(record_id(item, name))
            for number, paragraph in enumerate(paragraphs, start=1):
                own = f"{name}#{number}" if len(paragraphs) > 1 else name
                place = f"{where}, paragraph {number}"
                if not isinstance(paragraph, dict):
                    raise _shape_error(paragraph, place)
                yield _parse_paragraph(paragraph, own, place)
        case {"text": text}:
            meta = item.get("meta")
            meta = meta if isinstance(meta, dict) else {}
            document = document_from_record(record_id(item, name), text, meta, where, SPACY_SHAPE)
            yield document, list(_parse_objects(item, where))
        case _:
            raise _shape_error(item, where)


def _count_others(item: Any) -> Mapping[str, int]:
    # What is left out of an item, by the kind of its warning.
    about = item[1] if isinstance(item, list) else item
    groups, labels_of_text = about.get("spans"), about.get("cats")
    spans = [
        span
        for key, group in (groups.items() if isinstance(groups, dict) else ())
        if isinstance(group, list) and not (key == SPAN_GROUP and "ents" in about)
        for span in group
    ]
    entries = about.get("ents" if "ents" in about else "entities")
    return +Counter(
        {
            "span group": len(spans),
            "concept id": sum(map(_has_concept_id, entries)) if isinstance(entries, list) else 0,
            "other annotation": len(labels_of_text) if isinstance(labels_of_text, dict) else 0,
        }
    )


def _has_concept_id(entry: object) -> bool:
    match entry:
        case [_, _, _, concept_id] | {"kb_id": concept_id}:
            return bool(concept_id)
    return False


def _shape_error(item: object, where: str) -> FormatError:
    return FormatError(
        f"{where} is {item!r:.60}, but should be {SPACY_SHAPE}", code="record-not-an-object"
    )


def _parse_triple(entry: object, where: str) -> RawSpan:
    if not isinstance(entry, list) or not _is_triple(entry):
        raise FormatError(
            f"{where} has the annotation {entry!r:.60}, but should be {SPACY_SHAPE}",
            code="spacy-annotation-invalid",
        )
    start, end, label, *_ = entry
    return raw_span_from_record(start, end, label, where, SPACY_SHAPE)


def _parse_objects(item: Mapping[str, Any], where: str) -> Iterator[RawSpan]:
    # The entities of ``Doc.to_json``, or triples; spans of its group "sc" may overlap.
    if "ents" not in item:
        yield from (
            _parse_triple(entry, where)
            for entry in list_from_record(item, "entities", where, SPACY_SHAPE)
        )
        return
    groups = item.get("spans")
    group = []
    if isinstance(groups, dict) and SPAN_GROUP in groups:
        group = list_from_record(groups, SPAN_GROUP, where, SPACY_SHAPE)
    seen = set()
    for entry in chain(list_from_record(item, "ents", where, SPACY_SHAPE), group):
        fields = entry if isinstance(entry, dict) else {}
        start, end, label = fields.get("start"), fields.get("end"), fields.get("label")
        text = stated_text(fields)
        raw_span = raw_span_from_record(start, end, label, where, SPACY_SHAPE, text)
        if raw_span not in seen:
            seen.add(raw_span)
            yield raw_span


def _parse_paragraph(paragraph: Mapping[str, Any], name: str, where: str) -> StatedDocument:
    tokens = []
    for sentence in list_from_record(paragraph, "sentences", where, PARAGRAPH_SHAPE):
        if not isinstance(sentence, dict):
            raise _shape_error(sentence, where)
        tokens += list_from_record(sentence, "tokens", where, PARAGRAPH_SHAPE)
    if not all(isinstance(one, dict) and isinstance(one.get("orth"), str) for one in tokens):
        raise FormatError(
            f'{where} has tokens without an "orth", which is their text: write it again with '
            "spacy convert",
            code="spacy-token-invalid",
        )
    raw = paragraph.get("raw")
    spaced = (f"{token['orth']}{token.get('space', ' ') or ''}" for token in tokens)
    text = raw if isinstance(raw, str) else "".join(spaced)
    document = document_from_record(name, text, {}, where, PARAGRAPH_SHAPE)
    visible = [token for token in tokens if not token["orth"].isspace()]
    words = [token["orth"] for token in visible]
    starts = align_tokens(words, text)
    if starts is None:
        raise FormatError(
            f"{where} has tokens that are not in its text: write it again with spacy convert",
            code="spacy-tokens-misaligned",
        )
    tags = [token.get("ner", "O") for token in visible]
    parsed = [OUTSIDE if tag == MISSING_TAG else _parse_tag(tag, where) for tag in tags]
    ends = [start + len(word) for start, word in zip(starts, words, strict=True)]
    entities, _ = decode_entities(parsed)
    raw_spans = [RawSpan(starts[one.first], ends[one.last], (one.label,)) for one in entities]
    raw_spans += [
        RawSpan(start, end, (), is_part=True)
        for start, end, tag in zip(starts, ends, tags, strict=True)
        if tag == MISSING_TAG
    ]
    return document, raw_spans


def _parse_tag(tag: object, where: str) -> Tag:
    parsed = parse_tag(tag, "B-label") if isinstance(tag, str) else None
    if parsed is None:
        raise FormatError(
            f"{where} has the tag {tag!r:.40}, but should have one like B-Disease, or O",
            code="spacy-tag-invalid",
        )
    return parsed


def _serialize(document: Document, _config: LabelConfig) -> SerializedDocument:
    # spaCy refuses entities that overlap.
    kept, dropped = choose_flat_spans(document)
    entities = [[span.start, span.end, span.label] for span in kept]
    return SerializedDocument(
        json.dumps([document.text, {"entities": entities}], ensure_ascii=False),
        dropped,
        len(document.masked_ranges),
    )


SPACY_JSON_FORMAT = FileFormat(
    name="spaCy JSON",
    matches=is_spacy_json,
    read_annotations=read_spacy_json,
    read_texts=read_spacy_json_texts,
    writer=FormatWriter(
        option="spacy-json",
        description="spaCy's training data in JSON",
        serialize=_serialize,
        join=join_array,
    ),
)
