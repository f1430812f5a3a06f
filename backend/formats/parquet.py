"""Data sets of Hugging Face in Parquet or Arrow, which need the library pyarrow, an extra.

A file is read by itself, and so is a folder, with all its splits. The names of numbered tags are in
the schema, or in a file of the folder or one above it.
"""

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.documents.jsonl import Record
from tagalong.backend.formats.file_format import (
    FileFormat,
    FormatWriter,
    ReadOptions,
    SerializedDocument,
)
from tagalong.backend.formats.hugging_face_features import find_features
from tagalong.backend.formats.hugging_face_rows import (
    SHAPE,
    UNKNOWN_TAG,
    DataFile,
    document_to_row,
    read_file,
)
from tagalong.backend.formats.sniff import FileHead
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.ner.document import Document
from tagalong.ner.errors import FormatError, InputError

TABLE_SUFFIXES = (".parquet", ".arrow")
CACHE_PREFIX = "cache-"  # files of results that Hugging Face's library puts beside its own
ARROW_FILE_MARK, PARQUET_MARK = b"ARROW1", b"PAR1"
TABLE_STARTS = (ARROW_FILE_MARK, PARQUET_MARK, b"\xff\xff\xff\xff")  # the last: a stream
METADATA_KEY = b"huggingface"  # of a schema
TEXT_FEATURE = {"dtype": "string", "_type": "Value"}


def is_parquet(head: FileHead) -> bool:
    """Whether a file is a table of Parquet or Arrow, or a folder has such files."""
    if head.structure == "binary":
        return head.file.open_stream().read(len(ARROW_FILE_MARK)).startswith(TABLE_STARTS)
    return head.structure == "folder" and bool(_list_tables(head))


def read_parquet(head: FileHead, options: ReadOptions, import_log: ImportLog) -> Iterator[Document]:
    """Read a document from each row."""
    if head.structure != "folder":
        features = find_features(head.path, head.path.parent)
        yield from read_file(_open_table(head.path, head.path.stem, features), options, import_log)
        return
    for path in _list_tables(head):
        prefix = path.relative_to(head.path).with_suffix("").as_posix()
        table = _open_table(path, prefix, find_features(path, head.path))
        yield from read_file(table, options, import_log)


def _list_tables(head: FileHead) -> list[Path]:
    paths = head.file.list_files(*TABLE_SUFFIXES)
    return [path for path in paths if not path.name.startswith(CACHE_PREFIX)]


def _import_pyarrow(user: object) -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise InputError(
            f"{user} needs pyarrow: run pip install -e '.[parquet]' in Tagalong's folder",
            code="pyarrow-missing",
        ) from error
    return pyarrow, parquet


def _open_table(path: Path, prefix: str, features: Mapping[str, Any]) -> DataFile:
    pyarrow, parquet = _import_pyarrow(path)

    def read_batches() -> Iterator[Any]:
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

    def read_rows() -> Iterator[Record]:
        with _translate_errors(path, pyarrow.ArrowException):
            rows = chain.from_iterable(batch.to_pylist() for batch in read_batches())
            for number, row in enumerate(rows, start=1):
                yield Record(f"{path}, row {number}", SHAPE, row)

    with _translate_errors(path, pyarrow.ArrowException):
        metadata = next((batch.schema.metadata for batch in read_batches()), None)
    return DataFile(path, prefix, read_rows, _parse_features(metadata or {}) or features)


@contextmanager
def _translate_errors(path: Path, error_type: type[Exception]) -> Iterator[None]:
    # A ValueError: text that is not UTF-8, which pyarrow finds when it makes Python's texts.
    try:
        yield
    except (error_type, OSError, ValueError) as error:
        raise FormatError(
            f"{path} is no Parquet or Arrow file, or breaks off "
            f"({str(error).partition('. ')[0]:.80}): download it again",
            code="table-file-broken",
        ) from error


def _parse_features(metadata: Mapping[bytes, bytes]) -> Mapping[str, Any]:
    # Empty where the schema does not describe the columns.
    try:
        value = json.loads(metadata.get(METADATA_KEY, b"{}"))
    except (ValueError, RecursionError):
        return {}
    for key in ("info", "features"):
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _serialize(document: Document, _config: LabelConfig) -> SerializedDocument:
    # The names of all tags are in the schema, so `_join` makes the table.
    _import_pyarrow("Parquet")
    row, dropped = document_to_row(document)
    return SerializedDocument(json.dumps(row), dropped)


def _join(lines: Iterable[str]) -> Iterator[bytes]:
    pyarrow, parquet = _import_pyarrow("Parquet")
    rows = [json.loads(line) for line in lines]
    labels = sorted({tag[2:] for row in rows for tag in row["ner_tags"] if tag not in (None, "O")})
    names = ["O", *(f"{prefix}-{label}" for label in labels for prefix in "BI")]
    numbers = {None: UNKNOWN_TAG} | {name: number for number, name in enumerate(names)}
    for row in rows:
        row["ner_tags"] = [numbers[tag] for tag in row["ner_tags"]]
    tags = {"feature": {"names": names, "_type": "ClassLabel"}, "_type": "Sequence"}
    features = {
        "document_id": TEXT_FEATURE,
        "text": TEXT_FEATURE,
        "tokens": {"feature": TEXT_FEATURE, "_type": "Sequence"},
        "ner_tags": tags,
    }
    types = {
        "document_id": pyarrow.string(),
        "text": pyarrow.string(),
        "tokens": pyarrow.list_(pyarrow.string()),
        "ner_tags": pyarrow.list_(pyarrow.int64()),
    }
    metadata = {METADATA_KEY: json.dumps({"info": {"features": features}})}
    table = pyarrow.Table.from_pylist(rows, pyarrow.schema(list(types.items()), metadata))
    file = io.BytesIO()
    parquet.write_table(table, file)
    yield file.getvalue()


PARQUET_FORMAT = FileFormat(
    name="Hugging Face Parquet or Arrow",
    matches=is_parquet,
    read_annotations=read_parquet,
    writer=FormatWriter(
        option="parquet",
        description="Parquet of a Hugging Face data set",
        serialize=_serialize,
        join=_join,
    ),
)
