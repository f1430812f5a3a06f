"""Label Studio's JSON_MIN export: a flat array with one item per annotation.

Cancelled annotations, drafts and ground truth marks are not in it; JSON tells more.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import groupby
from typing import Any

from backend.label_studio import find_text_key, is_span_result, region_from_value
from backend.regions import Region
from ner.document import Document
from ner.errors import FormatError
from training.corpus.annotators import Task, settle_export
from training.corpus.formats import Format, ReadOptions
from training.corpus.label_studio import annotation_from
from training.corpus.ledger import Ledger
from training.corpus.peek import Peek, stream_items

ABOUT_THE_ANNOTATION = frozenset(
    {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement"}
)  # what the export adds to the fields of the task's data


def recognise(start: Peek) -> bool:
    """Whether a file is a flat array of annotations.

    Args:
        start: What the start of the file tells.

    Returns:
        True when the first item says who annotated, and has no ``data`` of its own.
    """
    return start.shape == "array" and {"id", "annotator", "lead_time"} <= start.first.keys()


def read(start: Peek, options: ReadOptions, ledger: Ledger) -> Iterator[Document]:
    """Read the annotations of an export, those of the same task together.

    Args:
        start: What the start of the file tells.
        options: How to read.
        ledger: Gets what is lost, and what had to be judged.

    Yields:
        The documents of one task after the other.

    Raises:
        FormatError: If something is not an annotation, or its text or regions cannot be read.
        OffsetError: If it cannot be told what the offsets of a task count.
    """
    yield from settle_export(
        partial(_tasks, start, options),
        strategy=options.annotators,
        config=options.config,
        ledger=ledger,
    )


FORMAT = Format("Label Studio JSON_MIN", recognise, read)


def _tasks(start: Peek, options: ReadOptions, ledger: Ledger) -> Iterator[Task]:
    """The annotated tasks of an export, from its start."""
    # Label Studio writes the annotations of a task one after the other.
    for name, group in groupby(_items(start), key=lambda item: str(item.get("id"))):
        where = f"{start.path}, task {name}"
        items = [item for item in group if item.get("annotation_id", "") is not None]
        if not items:
            ledger.warn("task without annotation", name)
            continue
        fields = _data(items[0])
        expected = options.config.data_key if options.config else None
        key = find_text_key(fields, where, key=expected)
        meta = {name: value for name, value in fields.items() if name != key}
        yield (
            Document(name, fields[key], meta=meta),
            [annotation_from(item, _regions(item, where, options, ledger)) for item in items],
        )


def _items(start: Peek) -> Iterator[dict[str, Any]]:
    """The items of the array, each an object."""
    for number, item in enumerate(stream_items(start.path), start=1):
        if not isinstance(item, dict):
            raise FormatError(f"{start.path}, item {number} is not an annotation: {item!r:.40}")
        yield item


def _data(item: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a task's data: what neither the export nor a control has added."""
    return {
        key: value
        for key, value in item.items()
        if key not in ABOUT_THE_ANNOTATION and not isinstance(value, list)
    }


def _regions(
    item: Mapping[str, Any], where: str, options: ReadOptions, ledger: Ledger
) -> list[Region]:
    """The labelled stretches of text; each control has a list under its name."""
    name = str(item.get("id"))
    controls = {key: found for key, value in item.items() if (found := _spans(value, where))}
    if options.config is None:
        if len(controls) > 1:
            ledger.warn("several controls", name)
        return [region for found in controls.values() for region in found]
    for key in controls.keys() - {options.config.control}:
        ledger.warn("another control", f"{name}: {key}", count=len(controls[key]))
    return controls.get(options.config.control, [])


def _spans(value: object, where: str) -> list[Region]:
    """The regions in a field, if it is the field of a ``<Labels>``."""
    return [
        region_from_value(entry, where)
        for entry in (value if isinstance(value, list) else ())
        if isinstance(entry, dict) and is_span_result({"value": entry}, where)
    ]
