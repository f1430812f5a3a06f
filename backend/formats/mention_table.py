"""TSV of mentions: rows of ``id, start, end, text, label``, with or without a header.

A row with offsets is an annotation, whose text is the words that it covers. A row without offsets
and label has the text of the document. Otherwise the text is in the file ``ID.txt`` beside the
table. Or every row has it in place of the mention, if that fits most documents. A row without a
label is a masked range. Rows of one document stand together.

Fields with tabs, line ends or quotes are in quotes, as spreadsheets write them; a file whose quotes
do not pair is read without quoting.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.formats.file_format import FileFormat, FormatWriter, SerializedDocument
from tagalong.backend.formats.records import refuse_other_kinds
from tagalong.backend.formats.sniff import FileHead
from tagalong.backend.formats.standoff import (
    NUL,
    REPLACEMENT_CHARACTER,
    StandoffDocument,
    check_id,
    check_label,
    read_standoff,
    read_standoff_texts,
)
from tagalong.backend.formats.tables import format_row
from tagalong.backend.formats.text_file import read_whole_text
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.ner.document import Document
from tagalong.ner.errors import FormatError, InputError
from tagalong.ner.words import is_inside_word, word_offsets

COLUMNS = ("id", "start", "end", "text", "label")
NAMES_BY_COLUMN: Mapping[str, tuple[str, ...]] = {  # of headers, in lower case
    "id": ("id", "doc_id", "document_id", "document", "pmid"),
    "start": ("start", "begin", "start_offset"),
    "end": ("end", "end_offset"),
    "text": ("text", "mention", "entity", "span"),
    "label": ("label", "type", "entity_type", "class"),
}
# No number longer than this: the limit of Python is 4,300 digits, and no text is that long.
OFFSET_PATTERN = re.compile(r"-?[0-9]{1,15}")
MAX_WAITING = 20  # odd documents in a row
TAG_PATTERN = re.compile(r"O|[BIESLUM]-.*", re.DOTALL)  # of tokens, in a file of another format


class _MentionRow(NamedTuple):
    line: int  # in the file, from 1
    id: str
    place: tuple[int, int] | None  # None: the row has the text of the document
    text: str
    label: str
    error: FormatError | None = None  # of a row that is none


def is_mention_table(head: FileHead) -> bool:
    """Whether the first line is the header of such a table, or a row of one."""
    first = next((line for line in head.head_lines if line.strip()), "").split("\t")
    if head.structure != "text" or len(first) < len(COLUMNS):
        return False
    if len(first) != len(COLUMNS) or _find_columns(first) is not None:
        return _find_columns(first) is not None
    name, start, end, text, label = first
    is_text = bool(name and text.strip()) and not (start or end or label)
    return is_text or (
        all(map(OFFSET_PATTERN.fullmatch, (start, end))) and TAG_PATTERN.fullmatch(label) is None
    )


def _read_documents(head: FileHead, _import_log: ImportLog) -> Iterator[StandoffDocument]:
    return refuse_other_kinds(_read_each(head))


def _read_each(head: FileHead) -> Iterator[StandoffDocument]:
    # A document waits for the next good one: rows of another id may stand between its own.
    waiting: list[StandoffDocument] = []
    done = dict[str, bool]()  # whether each document was good
    has_whole_texts = cache(partial(_has_whole_texts, head))  # read for few files
    for name, group in groupby(_read_rows(head), key=lambda row: row.id):
        rows = list(group)
        if again := next((one for one in waiting if one.id == name), None):
            again.error = again.error or waiting[-1].error
            # An odd row is not a document of its own.
            done |= {one.id: False for one in waiting if one.error is again.error}
            waiting = [one for one in waiting if one is again or one.error is not again.error]
            continue
        document = _read_group(head.path, name, rows, has_whole_texts)
        if name in done:
            error = FormatError(
                f"{head.path}, line {rows[0].line} belongs to document {name!r:.40}, whose other "
                "rows stand above other documents: sort the rows by id",
                code="table-rows-apart",
            )
            if done[name]:  # it lacks these rows, and cannot be called back
                raise error
            document.error = error
        if document.error is None or len(waiting) == MAX_WAITING:
            yield from waiting
            done |= {one.id: one.error is None for one in waiting}
            waiting = []
        waiting.append(document)
    yield from waiting


def _has_whole_texts(head: FileHead) -> bool:
    # Whether rows have the text of the document in place of the mention. A mention alone may look
    # like a short text, but then its offsets cut words, or another document has two of them.
    votes = 0
    for _, group in groupby(_read_rows(head), key=lambda row: row.id):
        rows = list(group)
        if all(row.place is not None for row in rows):
            words = word_offsets(rows[0].text)
            edges = (edge for row in rows for edge in row.place or ())
            is_whole = _share_text(rows) and not any(is_inside_word(words, one) for one in edges)
            votes += 1 if is_whole else -1
    return votes > 0


def _share_text(rows: Sequence[_MentionRow]) -> bool:
    text = rows[0].text
    return all(
        row.text == text and row.place is not None and 0 <= row.place[0] < row.place[1] <= len(text)
        for row in rows
    )


def _read_group(
    path: Path, name: str, rows: Sequence[_MentionRow], has_whole_texts: Callable[[], bool]
) -> StandoffDocument:
    try:
        if error := next((row.error for row in rows if row.error), None):
            raise error
        text, mentions = _find_text(path, name, rows, has_whole_texts)
    except InputError as error:
        return StandoffDocument(name, "", error=error)
    standoff = StandoffDocument(name, text)
    for row in mentions:
        if row.place is not None:
            standoff.add_annotation(row.label or None, [row.place], row.text)
    return standoff


def _find_text(
    path: Path, name: str, rows: Sequence[_MentionRow], has_whole_texts: Callable[[], bool]
) -> tuple[str, list[_MentionRow]]:
    # Also the rows of mentions, with the text that each states.
    mentions = [row for row in rows if row.place is not None]
    texts = [row for row in rows if row.place is None]
    if len(texts) == 1:
        return texts[0].text, mentions
    is_name = not name.startswith(".") and "/" not in name and "\\" not in name
    beside = path.with_name(f"{name}.txt") if is_name and name else None
    if not texts and beside is not None and beside.is_file():
        return read_whole_text(beside), mentions
    text = rows[0].text
    is_mention = rows[0].place == (0, len(text))
    if not texts and not is_mention and _share_text(rows) and has_whole_texts():
        return text, [row._replace(text="") for row in mentions]
    raise FormatError(
        f"{path}, line {rows[-1].line}: document {name!r:.40} has "
        f"{'several texts' if texts else 'no text'}: write one row with its id and text, without "
        f"start, end and label, or put its text beside the table as ID.txt",
        code="table-without-text",
    )


def _read_rows(head: FileHead) -> Iterator[_MentionRow]:
    places: Sequence[int] | None = None
    for line, fields in _read_fields(head, _choose_quoting(head)):
        if places is None:
            places = _find_columns(fields)
            if places is not None:
                width = len(fields)
                continue
            places, width = range(len(COLUMNS)), len(COLUMNS)
        name, start, end, text, label = (
            [fields[one] for one in places] if len(fields) == width else [""] * len(COLUMNS)
        )
        if name and not start and not end and not label:
            yield _MentionRow(line, name, None, text, "")
        elif name and all(map(OFFSET_PATTERN.fullmatch, (start, end))):
            yield _MentionRow(line, name, (int(start), int(end)), text, label)
        else:
            error = FormatError(
                f"{head.path}, line {line} is {' TAB '.join(fields)!r:.60}, but should be id, "
                "start, end, text and label, set apart by tabs",
                code="table-row-unknown",
            )
            stated = fields[places[0]] if len(fields) > places[0] else ""
            yield _MentionRow(line, stated or f"line {line}", None, "", "", error)


def _read_fields(head: FileHead, quoting: int) -> Iterator[tuple[int, list[str]]]:
    # Each row that is not blank, with the number of its first line.
    stream = io.TextIOWrapper(head.file.open_stream(), encoding="utf-8", newline="")
    reader = csv.reader(stream, delimiter="\t", quoting=quoting, strict=True)  # type: ignore[arg-type]
    line = 1
    for fields in reader:
        if fields:
            yield line, fields
        line = reader.line_num + 1


def _choose_quoting(head: FileHead) -> int:
    # A text may begin with a quote that nobody meant as quoting.
    try:
        uneven = _count_uneven_rows(head, csv.QUOTE_MINIMAL)
    except csv.Error:
        return csv.QUOTE_NONE
    is_better = uneven > 0 and _count_uneven_rows(head, csv.QUOTE_NONE) < uneven
    return csv.QUOTE_NONE if is_better else csv.QUOTE_MINIMAL


def _count_uneven_rows(head: FileHead, quoting: int) -> int:
    widths = Counter(len(fields) for _, fields in _read_fields(head, quoting))
    return widths.total() - max(widths.values(), default=0)


def _find_columns(header: Sequence[str]) -> list[int] | None:
    # The place of each column; None where one is missing.
    places = {name.strip().lower(): place for place, name in reversed([*enumerate(header)])}
    found = [
        next((places[name] for name in NAMES_BY_COLUMN[column] if name in places), None)
        for column in COLUMNS
    ]
    complete = [place for place in found if place is not None]
    return complete if len(complete) == len(COLUMNS) else None


def _serialize(document: Document, _config: LabelConfig) -> SerializedDocument:
    name = document.id
    check_id(name, is_valid=bool(name) and NUL not in name, format_name="a TSV file")
    for label in {span.label for span in document.spans}:
        check_label(label, is_valid=bool(label) and NUL not in label, format_name="TSV")
    rows = [_join_fields(name, "", "", document.text, "")]
    unlabelled = [(start, end, "") for start, end in document.masked_ranges]
    for start, end, label in [
        *((span.start, span.end, span.label) for span in document.spans),
        *unlabelled,
    ]:
        rows.append(_join_fields(name, str(start), str(end), document.text[start:end], label))
    return SerializedDocument("".join(rows), replaced_characters=document.text.count(NUL))


def _join_fields(*fields: str) -> str:
    return format_row(fields, "\t").replace(NUL, REPLACEMENT_CHARACTER)


def _join(documents: Iterable[str]) -> Iterator[str]:
    yield format_row(COLUMNS, "\t")
    yield from documents


MENTION_TABLE_FORMAT = FileFormat(
    name="TSV of mentions",
    matches=is_mention_table,
    read_annotations=read_standoff(
        _read_documents, "give the text that was annotated, in a row of its own or as ID.txt"
    ),
    read_texts=read_standoff_texts(_read_documents),
    writer=FormatWriter(
        option="tsv", description="TSV of mentions", serialize=_serialize, join=_join
    ),
)
