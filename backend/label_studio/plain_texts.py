"""Tasks with their plain texts in place of addresses and encoded texts, whose offsets count."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from tagalong.backend.label_studio.api.client import LabelStudioClient
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.results import read_text_ranges, without_text
from tagalong.backend.label_studio.task_text import TaskTextReader
from tagalong.ner.errors import InputError


def make_project_text_reader(
    client: LabelStudioClient, allowed_hosts: frozenset[str]
) -> TaskTextReader:
    """Make a reader that may read files of tasks with the key of the client."""
    return TaskTextReader(
        allowed_hosts,
        label_studio_url=client.url,
        authorization=client.connection.authorization_header,
    )


def plain_text_config(config: LabelConfig) -> LabelConfig:
    """The config of `with_plain_texts`; the same one if tasks hold plain texts already."""
    if all(text.text_encoding == "text" for text in config.texts):
        return config
    plain, *others = (
        replace(text, data_key=text.object, template="", text_encoding="text", other_texts=())
        for text in config.texts
    )
    return replace(plain, other_texts=tuple(others))


def with_plain_texts(
    tasks: Iterable[Mapping[str, Any]],
    config: LabelConfig,
    texts: TaskTextReader,
    *,
    on_unreadable: Callable[[str], None],
) -> Iterator[Mapping[str, Any]]:
    """Read the texts of tasks into the tasks, where `plain_text_config` expects them.

    A task whose text cannot be read is left out, and `on_unreadable` gets the reason.

    Raises:
        InputError: If no task has a text that can be read.
    """
    plain, count, first_error = plain_text_config(config), 0, None
    for task in tasks:
        if plain is config:
            yield task
            continue
        try:
            document = texts.read_document(task, config)
        except InputError as error:
            first_error = first_error or error
            on_unreadable(str(error))
            continue
        count += 1
        ranges = read_text_ranges(document, config)
        own = {text.object: document.text[start:end] for text, start, end in ranges}
        yield {**task, "data": {**without_text(task["data"], config), **own}}
    if first_error is not None and not count:
        raise first_error
