"""Records of other tools' JSON: an object a line, or an array of objects."""

import json
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import Any, Generic, Protocol, TypeVar

from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.documents.jsonl import Record, document_text_from_json, read_lines
from tagalong.backend.documents.offsets import RawSpan
from tagalong.backend.documents.source_item import SourceItem
from tagalong.backend.formats.file_format import SerializedDocument
from tagalong.backend.formats.json_items import stream_array_items
from tagalong.backend.formats.sniff import FileHead
from tagalong.ner.document import Document, DroppedAnnotation, Span
from tagalong.ner.errors import FormatError, InputError
from tagalong.ner.text_sanitizing import escape_unprintable, reject_lone_surrogates

Result = TypeVar("Result")
FIRST_ITEMS = 20  # show whether a file is of another kind
MAX_GOOD_BY_CHANCE = 2  # of these


def read_records(head: FileHead, shape: str) -> Iterator[Record]:
    """Read the records of lines or of an array; `shape` is the expected one, for messages."""
    if head.structure != "array":
        yield from read_lines(head.file.open_lines(), str(head.path), shape)
        return
    for number, item in enumerate(stream_array_items(head.file), start=1):
        yield Record(f"{head.path}, item {number}", shape, item)


def read_record_texts(
    head: FileHead, shape: str, parse: Callable[[int, Record], Document]
) -> Iterator[SourceItem]:
    """Read the text of each record, by its number from 1; an odd record has the reason."""
    for number, record in enumerate(read_records(head, shape), start=1):
        try:
            document = parse(number, record)
            yield SourceItem(number - 1, document.id, document)
        except InputError as error:
            yield SourceItem(number - 1, record.name(number), None, str(error))


def name_document(head: FileHead, number: int) -> str:
    """An id for a document that has none, from its file and its number in it."""
    # The name of a file may hold bytes that are no characters; an id must be written again.
    return f"{escape_unprintable(head.path.stem)}#{number}"


def record_id(record: Mapping[str, Any], default: str, *keys: str) -> object:
    """The first id that a record states under these keys, or else under "id", or the default."""
    stated = (record.get(key) for key in keys or ("id",))
    return next((one for one in stated if one not in (None, "")), default)


def document_from_record(
    name: object, text: object, meta: Mapping[str, Any], where: str, shape: str
) -> Document:
    """Make a document without spans; FormatError if id or text are missing, or of a wrong type."""
    if not isinstance(text, str):
        raise FormatError(f"{where} has no text, but should be {shape}", code="record-without-text")
    return document_text_from_json({"id": name, "text": text, "meta": dict(meta)}, where)


def raw_span_from_record(
    start: object, end: object, label: object, where: str, shape: str, text: str = ""
) -> RawSpan:
    """Read one annotation; without a label, it is None.

    Raises:
        FormatError: If offsets are not whole numbers, or the label is not text.
    """
    # Not isinstance: True is an int to it.
    if type(start) is not int or type(end) is not int or not isinstance(label, str | None):
        raise FormatError(
            f"{where} has an annotation from {start!r:.40} to {end!r:.40} with the label "
            f"{label!r:.40}, but should be {shape}",
            code="record-span-invalid",
        )
    labels = (reject_lone_surrogates(label, where, field="label"),) if label else ()
    return RawSpan(start, end, labels, reject_lone_surrogates(text, where))


def stated_text(entry: Mapping[str, Any]) -> str:
    """The text that an annotation states; empty if it states none."""
    text = entry.get("text")
    return text if isinstance(text, str) else ""


def list_from_record(record: Mapping[str, Any], key: str, where: str, shape: str) -> list[Any]:
    """The list under a key; FormatError if it is something else."""
    value = record.get(key)
    if not isinstance(value, list):
        raise FormatError(
            f"{where} has {value!r:.40} under {key!r}, but should be {shape}",
            code="record-without-list",
        )
    return value


@dataclass(frozen=True, slots=True)
class _Parsed(Generic[Result]):
    results: Sequence[Result]
    error: InputError | None = None


def parse_each(
    records: Iterable[Record],
    parse: Callable[[int, Record], Iterable[Result]],
    import_log: ImportLog,
) -> Iterator[Result]:
    """Parse records by their numbers from 1; an odd one is set aside with a warning.

    Raises:
        InputError: The first one, if `refuse_other_kinds` does.
    """

    def parse_one(number: int, record: Record) -> _Parsed[Result]:
        try:
            return _Parsed([*parse(number, record)])
        except InputError as error:
            return _Parsed([], error)

    for parsed in refuse_other_kinds(starmap(parse_one, enumerate(records, start=1))):
        if parsed.error is not None:
            import_log.record_warning("task set aside", str(parsed.error))
        yield from parsed.results


class _WithError(Protocol):
    @property
    def error(self) -> InputError | None: ...


Item = TypeVar("Item", bound=_WithError)


def refuse_other_kinds(items: Iterable[Item]) -> Iterator[Item]:
    """Pass items on, but raise the first error if nearly all of the first ones are odd, or all.

    Then it is a file of another kind, which may have a million of them.
    """
    first_error, good = None, 0
    for number, item in enumerate(items, start=1):
        good += item.error is None
        first_error = first_error or item.error
        if number == FIRST_ITEMS and good <= MAX_GOOD_BY_CHANCE and first_error is not None:
            raise first_error
        yield item
    if not good and first_error is not None:
        raise first_error


def choose_flat_spans(document: Document) -> tuple[list[Span], tuple[DroppedAnnotation, ...]]:
    """The spans that a format without overlaps keeps, longest first, and the dropped ones."""
    kept: list[Span] = []
    dropped = []
    for span in sorted(document.spans, key=lambda one: (one.start - one.end, one.start)):
        place = bisect(kept, span.start, key=lambda one: one.start)
        neighbours = kept[max(place - 1, 0) : place + 1]
        if any(one.start < span.end and span.start < one.end for one in neighbours):
            dropped.append(document.drop_span(span, "overlap"))
        else:
            kept.insert(place, span)
    return kept, tuple(dropped)


def serialize_record(document: Document, record: dict[str, Any]) -> SerializedDocument:
    """Write a record of a format without masked ranges, with the meta of its document."""
    if document.meta:
        record["meta"] = dict(document.meta)
    content = json.dumps(record, ensure_ascii=False)
    return SerializedDocument(content, masked_range_count=len(document.masked_ranges))


def join_lines(items: Iterable[str]) -> Iterator[str]:
    """Write serialized items, one a line."""
    return (f"{item}\n" for item in items)


def join_array(items: Iterable[str]) -> Iterator[str]:
    """Write a JSON array of serialized items, one a line."""
    yield "["
    for number, item in enumerate(items):
        yield f"{',' if number else ''}\n{item}"
    yield "\n]\n"
