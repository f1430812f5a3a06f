"""Texts to predict for, streamed from a file or a folder, with what keeps one from being read."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tagalong.backend.batch.run import SourceItem
from tagalong.backend.documents.jsonl import document_text_from_json, parse_lines
from tagalong.backend.label_studio.results import LabelConfig, find_text_key
from tagalong.backend.label_studio.task_text import TaskTextReader
from tagalong.ner.document import Document
from tagalong.ner.errors import FormatError, InputError
from tagalong.training.corpus.sniff import open_text, sniff_file, stream_array_items


def read_texts(path: Path, config: LabelConfig | None = None) -> Iterator[SourceItem]:
    """Read what is to be predicted for.

    Args:
        path: Label Studio's tasks as a JSON array; JSON lines, each a task or an object with a
            "text"; a plain text; or a folder of plain texts, each a file ``*.txt``.
        config: The project's labelling config, which says where a task has its text.

    Yields:
        The texts in the order of the file, or of the names of the files. One that is missing or is
        no text comes as what is wrong with it.

    Raises:
        InputError: If there is no such file, it is broken, or the folder has no text.
    """
    if path.is_dir():
        yield from _read_folder(path)
        return
    start = sniff_file(path)
    if start.parse_error:
        raise FormatError(
            f"{path} begins like JSON but is not ({start.parse_error}): export it again"
        )
    if start.structure == "text":
        with open_text(path) as file:
            yield SourceItem(0, path.name, Document(path.name, file.read().decode()))
    elif start.structure == "lines":
        with open_text(path) as file:
            for place, (where, value) in enumerate(parse_lines(file, str(path))):
                yield _parse_item(place, value, where, config)
    elif start.structure == "array":
        for place, value in enumerate(stream_array_items(path)):
            yield _parse_item(place, value, f"{path}, item {place + 1}", config)
    else:
        raise FormatError(
            f"{path} is one JSON object over several lines: give an array of tasks, or one object "
            "a line"
        )


def _read_folder(folder: Path) -> Iterator[SourceItem]:
    """One text a file."""
    names = sorted(path for path in folder.rglob("*.txt") if path.is_file())
    if not names:
        raise InputError(f"the folder {folder} has no file *.txt: name one with texts in it")
    for place, path in enumerate(names):
        key = path.relative_to(folder).as_posix()
        try:
            yield SourceItem(place, key, Document(key, path.read_bytes().decode("utf-8-sig")))
        except UnicodeDecodeError:
            yield SourceItem(place, key, None, f"{path} is not UTF-8: save it as UTF-8")


def _parse_item(place: int, value: object, where: str, config: LabelConfig | None) -> SourceItem:
    """One task or document of a file."""
    fields = value if isinstance(value, Mapping) else {}
    number = fields.get("id")
    key = str(number) if isinstance(number, int | str) and str(number) else str(place + 1)
    try:
        return SourceItem(place, key, _parse_document(key, fields, where, config))
    except InputError as error:
        return SourceItem(place, key, None, str(error))


def _parse_document(
    key: str, fields: Mapping[str, Any], where: str, config: LabelConfig | None
) -> Document:
    """The text of a task or of a document."""
    if "data" not in fields:
        document = document_text_from_json(fields, where)
        return Document(key, document.text, meta=document.meta)
    if config is not None:
        return TaskTextReader().read_document({"id": key, "data": fields["data"]}, config)
    data = fields["data"]
    name = find_text_key(data, where, key=None)
    if not isinstance(data[name], str):
        raise FormatError(f"{where} has {json.dumps(data[name])[:40]} where its text should be")
    return Document(key, data[name])
