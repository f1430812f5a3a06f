"""Prodigy's JSON lines: what ``prodigy db-out`` writes, and the tasks that its recipes take.

Only accepted answers are annotations (https://prodi.gy/docs/api-interfaces). An accepted yes or no
question, as of ``ner.teach``, is about its spans alone: the rest of the text is unknown. Records
with the same input are annotations of one text, by a person each.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

from tagalong.backend.annotations.annotated_task import (
    AnnotatedTask,
    Annotation,
    seconds_from_number,
)
from tagalong.backend.annotations.annotators import adjudicate_export, adjudicate_task
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
)
from tagalong.backend.formats.sniff import FileHead, count_records
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.ner.document import Document
from tagalong.ner.errors import FormatError

PRODIGY_SHAPE = '{"text", "spans": [{"start", "end", "label"}]}'
# Keys of a record that are not about its text; others, and the hashes, begin with "_".
OWN_KEYS = frozenset(
    {"id", "text", "spans", "tokens", "answer", "meta", "relations", "label", "options", "accept"}
)
SPAN_VIEWS = frozenset({None, "ner", "ner_manual", "spans", "spans_manual", "relations", "blocks"})


_Accepted = tuple[Document, list[RawSpan], dict[str, Any]]


@dataclass(slots=True)
class _Answers:
    document: Document
    annotations: list[Annotation] = field(default_factory=list)  # of all entities of the text
    confirmed: list[RawSpan] = field(default_factory=list)  # in answers to yes or no questions


def is_prodigy(head: FileHead) -> bool:
    """Whether the first record has a text, and spans or an answer."""
    record = head.first_record
    if not isinstance(record.get("text"), str):
        return False
    if (spans := record.get("spans")) is None:
        return {"answer", "_task_hash"} <= record.keys()
    return isinstance(spans, list) and all(
        isinstance(one, dict) and {"start", "end"} <= one.keys() for one in spans[:1]
    )


def read_prodigy(head: FileHead, options: ReadOptions, import_log: ImportLog) -> Iterator[Document]:
    """Read a document of each text with an accepted answer; other answers are counted."""
    answered = _group_answers(head, import_log).values()
    tasks = [_to_task(text, import_log) for text in answered]
    annotations = (annotation for task in tasks for annotation in task.annotations)
    if any(region.text for annotation in annotations for region in annotation.regions):
        yield from adjudicate_export(
            lambda _: tasks,
            policy=options.annotator_policy,
            config=options.label_config,
            import_log=import_log,
            refusal=None,
        )
        return
    for text, task in zip(answered, tasks, strict=True):  # nothing shows how offsets count
        yield from adjudicate_task(
            text.document,
            task.annotations,
            policy=options.annotator_policy,
            config=options.label_config,
            import_log=import_log,
        )


def read_prodigy_texts(head: FileHead, _config: LabelConfig | None) -> Iterator[SourceItem]:
    """Read the texts of all records, whatever their answers."""
    return read_record_texts(head, PRODIGY_SHAPE, partial(_parse_document, head))


def _group_answers(head: FileHead, import_log: ImportLog) -> dict[tuple[str, str], _Answers]:
    # The answers to one text may stand far apart.
    def parse(number: int, record: Record) -> Iterator[_Accepted]:
        document, fields = _parse_document(head, number, record), record.fields
        raw_spans = _parse_raw_spans(fields, record.where)
        if fields.get("answer", "accept") != "accept":
            import_log.record_warning("not accepted", f"{document.id}: {fields['answer']}")
        elif fields.get("spans") is None and fields.get("_view_id") not in SPAN_VIEWS:
            import_log.record_warning("task without annotation", document.id)
        else:
            yield document, raw_spans, fields

    texts: dict[tuple[str, str], _Answers] = {}
    for document, raw_spans, record in parse_each(
        read_records(head, PRODIGY_SHAPE), parse, import_log
    ):
        if isinstance(relations := record.get("relations"), list) and relations:
            import_log.record_warning("relation", document.id, count=len(relations))
        if isinstance(choices := record.get("accept"), list) and choices:
            import_log.record_warning("other annotation", document.id, count=len(choices))
        text = texts.setdefault((document.id, document.text), _Answers(document))
        if record.get("_is_binary") is True:
            text.confirmed += raw_spans
        else:
            who = record.get("_annotator_id") or record.get("_session_id") or ""
            updated_at = seconds_from_number(record.get("_timestamp"))
            text.annotations.append(Annotation(str(who), updated_at, tuple(raw_spans)))
    return texts


def _to_task(text: _Answers, import_log: ImportLog) -> AnnotatedTask:
    annotations = text.annotations
    if annotations and text.confirmed:
        import_log.record_warning("set aside", text.document.id, count=len(text.confirmed))
    if not annotations:
        annotations = [Annotation("", 0.0, tuple(text.confirmed), is_partial=True)]
    return AnnotatedTask(text.document.id, text.document, annotations)


def _parse_document(head: FileHead, number: int, record: Record) -> Document:
    fields = record.fields
    about = fields.get("meta")
    more = {
        key: value
        for key, value in fields.items()
        if key not in OWN_KEYS and not key.startswith("_")
    }
    meta = {**about, **more} if isinstance(about, dict) else more
    name = record_id(fields, name_document(head, number), "id", "_input_hash")
    return document_from_record(name, fields.get("text"), meta, record.where, PRODIGY_SHAPE)


def _parse_raw_spans(record: Mapping[str, Any], where: str) -> list[RawSpan]:
    if record.get("spans") is None:
        return []
    raw_spans = []
    for entry in list_from_record(record, "spans", where, PRODIGY_SHAPE):
        if not isinstance(entry, dict):
            raise FormatError(
                f"{where} has the span {entry!r:.40}, but should be {PRODIGY_SHAPE}",
                code="prodigy-span-invalid",
            )
        start, end, label = entry.get("start"), entry.get("end"), entry.get("label")
        text = _state_text(entry, record.get("tokens"))
        raw_spans.append(raw_span_from_record(start, end, label, where, PRODIGY_SHAPE, text))
    return raw_spans


def _state_text(span: Mapping[str, Any], tokens: object) -> str:
    # The text of a span as the record states it, or as its tokens do; empty if neither does.
    if isinstance(text := span.get("text"), str):
        return text
    first, last = span.get("token_start"), span.get("token_end")
    if not isinstance(tokens, list) or type(first) is not int or type(last) is not int:
        return ""
    covered = tokens[first : last + 1] if 0 <= first <= last else []
    if not all(_is_token(token) for token in covered):
        return ""
    # One blank for a gap of any width, because texts are compared by their words.
    gaps = [" " * (after["start"] > token["end"]) for token, after in pairwise(covered)]
    return "".join(
        token["text"] + gap for token, gap in zip(covered, [*gaps, ""][: len(covered)], strict=True)
    )


def _is_token(token: object) -> bool:
    return (
        isinstance(token, dict)
        and isinstance(token.get("text"), str)
        and type(token.get("start")) is type(token.get("end")) is int
    )


def _serialize(document: Document, _config: LabelConfig) -> SerializedDocument:
    record: dict[str, Any] = {
        "id": document.id,
        "text": document.text,
        "spans": [
            {"start": span.start, "end": span.end, "label": span.label} for span in document.spans
        ],
        "answer": "accept",
    }
    return serialize_record(document, record)


PRODIGY_FORMAT = FileFormat(
    name="Prodigy",
    matches=is_prodigy,
    read_annotations=read_prodigy,
    read_texts=read_prodigy_texts,
    count=count_records,
    writer=FormatWriter(
        option="prodigy",
        description="Prodigy's JSON lines",
        serialize=_serialize,
        join=join_lines,
    ),
)
