"""Rows of data sets of Hugging Face, with ``tokens`` and ``ner_tags``, to documents and back.

A document is a row. Its text is the column ``text`` where that has the tokens. Else the tokens are
joined by blanks, but for scripts without blanks. Tags are texts or numbers. The tag -100, or none,
is unknown. An ``id`` numbers the rows of a file, so the name of the file stands before it. A
``document_id`` is an id by itself where there is no ``id``: a document may have several rows.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.annotations.span_validation import validate_raw_spans
from tagalong.backend.documents.jsonl import Record
from tagalong.backend.formats.columns import ColumnOptions
from tagalong.backend.formats.file_format import ReadOptions
from tagalong.backend.formats.hugging_face_features import find_tag_names
from tagalong.backend.formats.records import parse_each
from tagalong.backend.formats.standoff import check_id, check_label
from tagalong.backend.formats.tagged_tokens import choose_entity_label, find_token_spans, tag_words
from tagalong.backend.formats.tagging_schemes import (
    OUTSIDE,
    SchemeName,
    Tag,
    detect_scheme,
    parse_tag,
)
from tagalong.backend.formats.token_text import align_tokens, is_character_file, join_tokens
from tagalong.ner.document import Document, DroppedAnnotation
from tagalong.ner.errors import FormatError
from tagalong.ner.text_sanitizing import escape_unprintable, reject_lone_surrogates

TOKEN_KEYS = ("tokens", "words", "token", "text")  # the first there is
TAG_KEYS = ("ner_tags", "ner", "tags", "ner_tag", "labels", "label", "entities")
TEXT_KEY, DOCUMENT_KEY = "text", "document_id"
UNKNOWN_TAG = -100  # PyTorch's losses ignore it
SHAPE = '{"tokens": ["Lithium", ...], "ner_tags": ["B-Chemical", ...]}'
MAX_SAMPLE_ROWS = 5000  # whose tags show their scheme


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of rows."""

    path: Path
    prefix: str  # of the ids of its documents
    read_rows: Callable[[], Iterator[Record]]
    features: Mapping[str, Any]  # of the columns, as the data set describes them


def has_tokens(record: Mapping[str, Any]) -> bool:
    """Whether a row has lists of tokens and tags under the usual names."""
    return _find_columns(record, ColumnOptions()) is not None


def _find_columns(record: Mapping[str, Any], options: ColumnOptions) -> tuple[str, str] | None:
    # Names of the columns of tokens and tags.
    token_keys = (options.word_column,) if options.word_column else TOKEN_KEYS
    tag_keys = (options.tag_column,) if options.tag_column else TAG_KEYS
    tokens = [key for key in token_keys if _is_list_of(record.get(key), str)]
    tags = [key for key in tag_keys if _is_list_of(record.get(key), str | int | None)]
    return (tokens[0], tags[0]) if tokens and tags else None


def _is_list_of(value: object, kind: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, kind) for one in value)


@dataclass(frozen=True, slots=True)
class _RowReader:
    """How to read the rows of a file."""

    columns: tuple[str, str]
    names: Sequence[str] | None  # of numbers
    scheme: SchemeName
    has_characters: bool
    entity_label: str


def read_file(
    data_file: DataFile, options: ReadOptions, import_log: ImportLog
) -> Iterator[Document]:
    """Read a document from each row of a file; an odd row is set aside."""
    sample = list(islice(data_file.read_rows(), MAX_SAMPLE_ROWS))
    if not sample:
        return
    reader = _describe(data_file, sample, options)

    def parse(number: int, record: Record) -> Iterator[Document]:
        name = _name_document(data_file, number, record)
        yield _read_row(reader, name, record, options, import_log)

    yield from parse_each(data_file.read_rows(), parse, import_log)


def _name_document(data_file: DataFile, number: int, record: Record) -> str:
    stated, of_row = (
        value if isinstance(value, str | int) and value != "" else None
        for value in (record.fields.get(DOCUMENT_KEY), record.fields.get("id"))
    )
    if stated is not None and of_row is None:
        return reject_lone_surrogates(str(stated), record.where, field=DOCUMENT_KEY)
    return escape_unprintable(f"{data_file.prefix}#{number if of_row is None else of_row}")


def _describe(data_file: DataFile, sample: Sequence[Record], options: ReadOptions) -> _RowReader:
    rows = [one.content for one in sample if isinstance(one.content, dict)]
    found = (_find_columns(row, options.columns) for row in rows)
    columns = next(filter(None, found), None)
    if columns is None:
        raise FormatError(
            f"{sample[0].where} has the columns {', '.join(map(str, sample[0].fields))}, but no "
            "lists of tokens and tags among them: name them with --word-column and --tag-column",
            code="dataset-columns-unknown",
        )
    tokens, values = (
        [one for row in rows if isinstance(cells := row.get(column), list) for one in cells]
        for column in columns
    )
    names = find_tag_names(data_file.features.get(columns[1]))
    stated = [value for value in values if isinstance(value, str)]
    numbers = (value for value in values if isinstance(value, int) and value != UNKNOWN_TAG)
    if names is None and not stated and any(True for _ in numbers):
        raise FormatError(
            f"{data_file.path} has numbers in {columns[1]!r}, and no names for them: put the "
            "data set's dataset_info.json or README.md beside it",
            code="tag-names-missing",
        )
    counts = Counter(stated or names or ["O"])
    scheme = detect_scheme(counts, is_named=True)
    if scheme is None:
        raise FormatError(
            f"{data_file.path} has no tags in {columns[1]!r}, but "
            f"{', '.join(repr(value) for value, _ in counts.most_common(3))}: name the column of O "
            "and B-Disease with --tag-column",
            code="dataset-without-tags",
        )
    return _RowReader(
        columns,
        names,
        scheme,
        is_character_file([token for token in tokens if isinstance(token, str)]),
        choose_entity_label(options),
    )


def _read_row(
    reader: _RowReader,
    name: str,
    record: Record,
    options: ReadOptions,
    import_log: ImportLog,
) -> Document:
    row, where = record.fields, record.where
    tokens, values = (row.get(column) for column in reader.columns)
    if not isinstance(tokens, list) or not isinstance(values, list) or len(tokens) != len(values):
        raise _row_error(where, "does not have as many tags as tokens")
    if not all(isinstance(token, str) for token in tokens):
        raise _row_error(where, "has tokens that are not texts")
    tags = [_parse_value(reader, value, where) for value in values]
    text, starts = _place_tokens(reader, tokens, name, row, import_log)
    document = Document(name, reject_lone_surrogates(text, where))
    raw_spans = find_token_spans(
        tokens,
        starts,
        [tag or OUTSIDE for tag in tags],
        reader.scheme,
        reader.entity_label,
        name=name,
        import_log=import_log,
    )
    spans = validate_raw_spans(
        document, raw_spans, config=options.label_config, import_log=import_log
    )
    masked = [
        (start, start + len(token))
        for token, start, tag in zip(tokens, starts, tags, strict=True)
        if tag is None and token
    ]
    return Document(name, text, spans, masked_ranges=tuple(masked))


def _place_tokens(
    reader: _RowReader,
    tokens: Sequence[str],
    name: str,
    row: Mapping[str, Any],
    import_log: ImportLog,
) -> tuple[str, list[int]]:
    text = row.get(TEXT_KEY)
    if isinstance(text, str):
        if (starts := align_tokens(tokens, text)) is not None:
            return text, starts
        import_log.record_warning("text line not used", f"{name}: {text!r:.60}")
    return join_tokens(tokens, without_blanks=reader.has_characters)


def _parse_value(reader: _RowReader, value: object, where: str) -> Tag | None:
    # None for an unknown tag.
    if value is None or value == UNKNOWN_TAG:
        return None
    name: object = value
    if isinstance(value, int) and reader.names is not None:
        name = reader.names[value] if 0 <= value < len(reader.names) else None
    tag = parse_tag(name, reader.scheme) if isinstance(name, str) else None
    if tag is None:
        raise _row_error(where, f"has {value!r:.40} where a tag such as O or B-Disease should be")
    reject_lone_surrogates(tag[1], where, field="tag")
    return tag


def _row_error(where: str, finding: str) -> FormatError:
    return FormatError(f"{where} {finding}: rows should be {SHAPE}", code="dataset-row-invalid")


def document_to_row(document: Document) -> tuple[dict[str, Any], tuple[DroppedAnnotation, ...]]:
    """Make a row of a document, and list the annotations that are not in it."""
    check_id(document.id, is_valid=bool(document.id), format_name="a data set")
    for label in {span.label for span in document.spans}:
        is_valid = parse_tag(f"B-{label}", "B-label") == ("B", label)
        check_label(label, is_valid=is_valid, format_name="data set")
    tagged = tag_words(document)
    row = {
        DOCUMENT_KEY: document.id,
        TEXT_KEY: document.text,
        TOKEN_KEYS[0]: tagged.tokens,
        TAG_KEYS[0]: tagged.tags,
    }
    return row, tagged.dropped
