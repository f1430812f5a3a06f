"""Data sets of Hugging Face: rows with ``tokens`` and ``ner_tags``, as JSON, Parquet or Arrow.

A file of JSON is read by itself, and so is a folder, with all its splits. A document is a row, and
its text is the tokens joined by blanks, but for scripts without blanks. Tags are texts or numbers.
The names of numbers are in the schema of a table, or in a file of the folder or one above it:
``dataset_info.json``, or the header of ``README.md``. The tag -100 is unknown.

Format: https://huggingface.co/docs/datasets/about_dataset_features
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.annotations.span_validation import validate_raw_spans
from tagalong.backend.formats.columns import ColumnOptions
from tagalong.backend.formats.file_format import FileFormat, ReadOptions
from tagalong.backend.formats.records import read_records
from tagalong.backend.formats.sniff import FileHead, TextFile, read_whole_text, sniff_file
from tagalong.backend.formats.tagged_tokens import choose_entity_label, find_token_spans
from tagalong.backend.formats.tagging_schemes import (
    OUTSIDE,
    SchemeName,
    Tag,
    detect_scheme,
    parse_tag,
)
from tagalong.backend.formats.token_text import is_character_file, join_tokens
from tagalong.ner.document import Document
from tagalong.ner.errors import FormatError, InputError
from tagalong.ner.text_sanitizing import escape_unprintable

TOKEN_KEYS = ("tokens", "words", "token", "text")  # the first there is
TAG_KEYS = ("ner_tags", "ner", "tags", "ner_tag", "labels", "label", "entities")
INFO_NAMES = ("dataset_info.json", "dataset_infos.json")
README_NAME = "README.md"
JSON_SUFFIXES = (".json", ".jsonl")
TABLE_SUFFIXES = (".parquet", ".arrow")
CACHE_PREFIX = "cache-"  # files of results that Hugging Face's library puts beside its own
UNKNOWN_TAG = -100  # PyTorch's losses ignore it
SHAPE = '{"tokens": ["Lithium", ...], "ner_tags": ["B-Chemical", ...]}'
MAX_SAMPLE_ROWS = 5000  # whose tags show their scheme
ARROW_FILE_MARK, PARQUET_MARK = b"ARROW1", b"PAR1"
TABLE_STARTS = (ARROW_FILE_MARK, PARQUET_MARK, b"\xff\xff\xff\xff")  # the last: a stream
METADATA_KEY = b"huggingface"  # of a schema

Row = tuple[str, dict[str, Any]]  # place, for messages, and values by column


@dataclass(frozen=True, slots=True)
class _DataFile:
    """A file of rows."""

    path: Path
    prefix: str  # of the ids of its documents
    read_rows: Callable[[], Iterator[Row]]
    features: Mapping[str, Any]  # of the columns, as the data set describes them


def is_hugging_face(head: FileHead) -> bool:
    """Whether a file's first record has tokens and tags, or a folder has such files."""
    if head.structure == "binary":
        return head.file.open_stream().read(len(ARROW_FILE_MARK)).startswith(TABLE_STARTS)
    if head.structure != "folder":
        return head.structure in ("lines", "array") and _has_tokens(head.first_record)
    if _list_tables(head):
        return True
    for path in _list_json(head)[:1]:
        try:
            with TextFile(path) as file:
                inner = sniff_file(file)
                return inner.structure in ("lines", "array") and _has_tokens(inner.first_record)
        except InputError:  # the file of another format, or a damaged one
            return False
    return False


def read_hugging_face(
    head: FileHead, options: ReadOptions, import_log: ImportLog
) -> Iterator[Document]:
    """Read a document from each row."""
    for data_file in _open_files(head):
        yield from _read_file(data_file, options, import_log)


def _has_tokens(record: Mapping[str, Any]) -> bool:
    return _find_columns(record, ColumnOptions()) is not None


def _find_columns(record: Mapping[str, Any], options: ColumnOptions) -> tuple[str, str] | None:
    # Names of the columns of tokens and tags.
    token_keys = (options.word_column,) if options.word_column else TOKEN_KEYS
    tag_keys = (options.tag_column,) if options.tag_column else TAG_KEYS
    tokens = [key for key in token_keys if _is_list_of(record.get(key), str)]
    tags = [key for key in tag_keys if _is_list_of(record.get(key), str | int)]
    return (tokens[0], tags[0]) if tokens and tags else None


def _is_list_of(value: object, kind: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, kind) for one in value)


def _list_tables(head: FileHead) -> list[Path]:
    paths = head.file.list_files(*TABLE_SUFFIXES)
    return [path for path in paths if not path.name.startswith(CACHE_PREFIX)]


def _list_json(head: FileHead) -> list[Path]:
    names = {*INFO_NAMES, "state.json", "dataset_dict.json"}
    return [path for path in head.file.list_files(*JSON_SUFFIXES) if path.name not in names]


def _open_files(head: FileHead) -> Iterator[_DataFile]:
    if head.structure != "folder":
        features = _find_features(head.path, head.path.parent)
        if head.structure == "binary":
            yield _open_table(head.path, head.path.stem, features)
            return
        yield _DataFile(head.path, head.path.stem, partial(read_records, head, SHAPE), features)
        return
    tables = _list_tables(head)
    for path in tables or _list_json(head):
        prefix = path.relative_to(head.path).with_suffix("").as_posix()
        features = _find_features(path, head.path)
        if tables:
            yield _open_table(path, prefix, features)
            continue
        with TextFile(path) as file:
            inner = sniff_file(file)
            yield _DataFile(path, prefix, partial(read_records, inner, SHAPE), features)


def _open_table(path: Path, prefix: str, features: Mapping[str, Any]) -> _DataFile:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise InputError(
            f"{path} needs pyarrow: install it with pip install 'tagalong[parquet]'",
            code="pyarrow-missing",
        ) from error

    def read_batches() -> Iterator[Any]:
        try:
            with pyarrow.memory_map(str(path)) as source:
                start = source.read(len(ARROW_FILE_MARK))
                source.seek(0)
                if start.startswith(PARQUET_MARK):
                    yield from parquet.ParquetFile(source).iter_batches()
                elif start == ARROW_FILE_MARK:  # Feather files, and others
                    reader = pyarrow.ipc.open_file(source)
                    yield from map(reader.get_batch, range(reader.num_record_batches))
                else:  # as Hugging Face's library writes them
                    yield from pyarrow.ipc.open_stream(source)
        except (pyarrow.ArrowException, OSError) as error:
            raise FormatError(
                f"{path} is no Parquet or Arrow file, or breaks off ({error!s:.80}): download it "
                "again",
                code="table-file-broken",
            ) from error

    def read_rows() -> Iterator[Row]:
        number = 0
        for batch in read_batches():
            for row in batch.to_pylist():
                number += 1
                yield f"{path}, row {number}", row

    for batch in read_batches():
        metadata = json.loads((batch.schema.metadata or {}).get(METADATA_KEY, b"{}"))
        stated = metadata.get("info", {}).get("features")
        features = stated or features
        break
    return _DataFile(path, prefix, read_rows, features)


def _find_features(path: Path, top: Path) -> Mapping[str, Any]:
    # Of the nearest file that has them, from the file's folder up to the data set's.
    folders = [path.parent, *path.parent.parents]
    for folder in folders[: folders.index(top) + 1]:
        for name in INFO_NAMES:
            if (folder / name).is_file():
                return _features_from_json(folder / name)
        if (folder / README_NAME).is_file() and (
            features := _features_from_readme(folder / README_NAME)
        ):
            return features
    return {}


def _features_from_json(path: Path) -> Mapping[str, Any]:
    try:
        info = json.loads(read_whole_text(path))
    except (ValueError, RecursionError) as error:
        raise FormatError(
            f"{path} is not JSON, or breaks off: download it again", code="dataset-info-broken"
        ) from error
    # An older file has the info of each configuration.
    infos = [info, *info.values()] if isinstance(info, dict) else []
    found = [one["features"] for one in infos if isinstance(one, dict) and one.get("features")]
    return found[0] if found and isinstance(found[0], dict) else {}


def _features_from_readme(path: Path) -> Mapping[str, Any]:
    # As in the JSON file: {"ner_tags": {"feature": {"names": [...]}}}.
    parts = read_whole_text(path).split("---\n", 2)
    try:
        header = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0].strip() else None
    except yaml.YAMLError:
        return {}
    info = header.get("dataset_info") if isinstance(header, dict) else None
    info = info[0] if isinstance(info, list) and info else info
    features = info.get("features") if isinstance(info, dict) else None
    if not isinstance(features, list):
        return {}
    return {one["name"]: one for one in features if isinstance(one, dict) and "name" in one}


def _find_names(feature: object) -> list[str] | None:
    # The names of a class label, at any depth: {"feature": {"names": [...]}} in JSON,
    # {"sequence": {"class_label": {"names": {"0": ...}}}} in a README.
    if isinstance(feature, list):  # an older form of a sequence
        return next(filter(None, map(_find_names, feature)), None)
    if not isinstance(feature, dict):
        return None
    names = feature.get("names")
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names, key=int)]
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return names
    inner = (feature.get(key) for key in ("feature", "sequence", "list", "class_label"))
    return next(filter(None, map(_find_names, inner)), None)


@dataclass(frozen=True, slots=True)
class _RowReader:
    """How to read the rows of a file."""

    columns: tuple[str, str]
    names: Sequence[str] | None  # of numbers
    scheme: SchemeName
    has_characters: bool
    entity_label: str


def _read_file(
    data_file: _DataFile, options: ReadOptions, import_log: ImportLog
) -> Iterator[Document]:
    sample = list(islice(data_file.read_rows(), MAX_SAMPLE_ROWS))
    if not sample:
        return
    reader = _describe(data_file, sample, options)
    for number, (where, row) in enumerate(data_file.read_rows(), start=1):
        identifier = row.get("id")
        has_id = isinstance(identifier, str | int) and identifier != ""
        name = f"{data_file.prefix}#{identifier if has_id else number}"
        yield _read_row(reader, escape_unprintable(name), where, row, options, import_log)


def _describe(data_file: _DataFile, sample: Sequence[Row], options: ReadOptions) -> _RowReader:
    where, row = sample[0]
    columns = _find_columns(row, options.columns)
    if columns is None:
        raise FormatError(
            f"{where} has the columns {', '.join(map(str, row))}, but no lists of tokens and tags "
            "among them: name them with --word-column and --tag-column",
            code="dataset-columns-unknown",
        )
    values = [value for _, one in sample for value in one.get(columns[1]) or ()]
    names = _find_names(data_file.features.get(columns[1]))
    if names is None and any(isinstance(value, int) and value != UNKNOWN_TAG for value in values):
        raise FormatError(
            f"{data_file.path} has numbers in {columns[1]!r}, and no names for them: put the "
            "data set's dataset_info.json or README.md beside it",
            code="tag-names-missing",
        )
    stated = [value for value in values if isinstance(value, str)]
    scheme = detect_scheme(Counter(stated or names or ["O"]), is_named=True)
    if scheme is None:
        raise FormatError(
            f"{data_file.path} has no tags in {columns[1]!r}, but "
            f"{', '.join(map(repr, (stated or names or [])[:3]))}: name the column of O and "
            "B-Disease with --tag-column",
            code="dataset-without-tags",
        )
    tokens = [token for _, one in sample for token in one.get(columns[0]) or ()]
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
    where: str,
    row: Mapping[str, Any],
    options: ReadOptions,
    import_log: ImportLog,
) -> Document:
    tokens, values = (row.get(column) for column in reader.columns)
    if not isinstance(tokens, list) or not isinstance(values, list) or len(tokens) != len(values):
        raise _row_error(where, "does not have as many tags as tokens")
    if not all(isinstance(token, str) for token in tokens):
        raise _row_error(where, "has tokens that are not texts")
    tags = [_parse_value(reader, value, where) for value in values]
    text, starts = join_tokens(tokens, without_blanks=reader.has_characters)
    document = Document(name, text)
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
    return tag


def _row_error(where: str, finding: str) -> FormatError:
    return FormatError(f"{where} {finding}: rows should be {SHAPE}", code="dataset-row-invalid")


HUGGING_FACE_FORMAT = FileFormat(
    name="Hugging Face data set",
    matches=is_hugging_face,
    read_annotations=read_hugging_face,
)
