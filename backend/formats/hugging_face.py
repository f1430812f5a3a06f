"""Data sets of Hugging Face in JSON: a file of rows, or a folder with all its splits.

The names of numbered tags are in a file of the folder or one above it.
"""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.formats.file_format import (
    FileFormat,
    FormatWriter,
    ReadOptions,
    SerializedDocument,
)
from tagalong.backend.formats.hugging_face_features import INFO_NAMES, find_features
from tagalong.backend.formats.hugging_face_rows import (
    SHAPE,
    DataFile,
    document_to_row,
    has_tokens,
    read_file,
)
from tagalong.backend.formats.records import join_lines, read_records
from tagalong.backend.formats.sniff import FileHead, sniff_file
from tagalong.backend.formats.text_file import TextFile
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.ner.document import Document
from tagalong.ner.errors import InputError

JSON_SUFFIXES = (".json", ".jsonl")


def is_hugging_face(head: FileHead) -> bool:
    """Whether the first record of a file, or of a folder's first file, has tokens and tags."""
    if head.structure != "folder":
        return head.structure in ("lines", "array") and has_tokens(head.first_record)
    for path in _list_files(head)[:1]:
        try:
            with TextFile(path) as file:
                return is_hugging_face(sniff_file(file))
        except InputError:  # the file of another format, or a damaged one
            return False
    return False


def read_hugging_face(
    head: FileHead, options: ReadOptions, import_log: ImportLog
) -> Iterator[Document]:
    """Read a document from each row."""
    for data_file in _open_files(head):
        yield from read_file(data_file, options, import_log)


def _list_files(head: FileHead) -> list[Path]:
    names = {*INFO_NAMES, "state.json", "dataset_dict.json"}
    return [path for path in head.file.list_files(*JSON_SUFFIXES) if path.name not in names]


def _open_files(head: FileHead) -> Iterator[DataFile]:
    if head.structure != "folder":
        features = find_features(head.path, head.path.parent)
        yield DataFile(head.path, head.path.stem, partial(read_records, head, SHAPE), features)
        return
    for path in _list_files(head):
        prefix = path.relative_to(head.path).with_suffix("").as_posix()
        with TextFile(path) as file:
            inner = sniff_file(file)
            features = find_features(path, head.path)
            yield DataFile(path, prefix, partial(read_records, inner, SHAPE), features)


def _serialize(document: Document, _config: LabelConfig) -> SerializedDocument:
    row, dropped = document_to_row(document)
    return SerializedDocument(json.dumps(row, ensure_ascii=False), dropped)


HUGGING_FACE_FORMAT = FileFormat(
    name="Hugging Face JSON",
    matches=is_hugging_face,
    read_annotations=read_hugging_face,
    writer=FormatWriter(
        option="hugging-face",
        description="JSON lines of a Hugging Face data set",
        serialize=_serialize,
        join=join_lines,
    ),
)
