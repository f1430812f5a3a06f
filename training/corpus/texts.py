"""Texts to predict for, streamed from a file or a folder, with what keeps one from being read."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from backend.batch.run import Item
from backend.jsonlines import parse_lines, text_from_json
from backend.label_studio import LabelConfig, find_text_key
from backend.task_text import TaskTexts
from ner.document import Document
from ner.errors import FormatError, InputError
from training.corpus.peek import open_text, peek, stream_items


def read_texts(path: Path, config: LabelConfig | None = None) -> Iterator[Item]:
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
        yield from _of_folder(path)
        return
    start = peek(path)
    if start.fault:
        raise FormatError(f"{path} begins like JSON but is not ({start.fault}): export it again")
    if start.shape == "text":
        with open_text(path) as file:
            yield Item(0, path.name, Document(path.name, file.read().decode()))
    elif start.shape == "lines":
        with open_text(path) as file:
            for place, (where, value) in enumerate(parse_lines(file, str(path))):
                yield _item(place, value, where, config)
    elif start.shape == "array":
        for place, value in enumerate(stream_items(path)):
            yield _item(place, value, f"{path}, item {place + 1}", config)
    else:
        raise FormatError(
            f"{path} is one JSON object over several lines: give an array of tasks, or one object "
            "a line"
        )


def _of_folder(folder: Path) -> Iterator[Item]:
    """One text a file."""
    names = sorted(path for path in folder.rglob("*.txt") if path.is_file())
    if not names:
        raise InputError(f"the folder {folder} has no file *.txt: name one with texts in it")
    for place, path in enumerate(names):
        key = path.relative_to(folder).as_posix()
        try:
            yield Item(place, key, Document(key, path.read_bytes().decode("utf-8-sig")))
        except UnicodeDecodeError:
            yield Item(place, key, None, f"{path} is not UTF-8: save it as UTF-8")


def _item(place: int, value: object, where: str, config: LabelConfig | None) -> Item:
    """One task or document of a file."""
    fields = value if isinstance(value, Mapping) else {}
    number = fields.get("id")
    key = str(number) if isinstance(number, int | str) and str(number) else str(place + 1)
    try:
        return Item(place, key, _document(key, fields, where, config))
    except InputError as error:
        return Item(place, key, None, str(error))


def _document(
    key: str, fields: Mapping[str, Any], where: str, config: LabelConfig | None
) -> Document:
    """The text of a task or of a document."""
    if "data" not in fields:
        document = text_from_json(fields, where)
        return Document(key, document.text, meta=document.meta)
    if config is not None:
        return TaskTexts().document({"id": key, "data": fields["data"]}, config)
    data = fields["data"]
    name = find_text_key(data, where, key=None)
    if not isinstance(data[name], str):
        raise FormatError(f"{where} has {json.dumps(data[name])[:40]} where its text should be")
    return Document(key, data[name])
