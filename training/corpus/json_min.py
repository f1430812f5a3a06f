"""Label Studio's JSON_MIN export: a flat array with one item per annotation.

Cancelled annotations, drafts and ground truth marks are not in it; JSON tells more.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import groupby
from typing import Any

from tagalong.backend.documents.offsets import RawSpan
from tagalong.backend.label_studio.results import find_text_key, is_span_result, raw_span_from_value
from tagalong.ner.document import Document
from tagalong.ner.errors import FormatError
from tagalong.training.corpus.annotators import AnnotatedTask, adjudicate_export
from tagalong.training.corpus.formats import CorpusFormat, ReadOptions
from tagalong.training.corpus.import_log import ImportLog
from tagalong.training.corpus.label_studio import parse_annotation
from tagalong.training.corpus.sniff import FileHead, stream_array_items

ANNOTATION_KEYS = frozenset(
    {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement"}
)  # what the export adds to the fields of the task's data


def is_json_min(head: FileHead) -> bool:
    """Whether a file is a flat array of annotations.

    Args:
        head: What the start of the file tells.

    Returns:
        True when the first item says who annotated, and has no ``data`` of its own.
    """
    return (
        head.structure == "array" and {"id", "annotator", "lead_time"} <= head.first_record.keys()
    )


def read_json_min(
    head: FileHead, options: ReadOptions, import_log: ImportLog
) -> Iterator[Document]:
    """Read the annotations of an export, those of the same task together.

    Args:
        head: What the start of the file tells.
        options: How to read.
        import_log: Gets what is lost, and what had to be judged.

    Yields:
        The documents of one task after the other.

    Raises:
        FormatError: If something is not an annotation, or its text or regions cannot be read.
        OffsetError: If it cannot be told what the offsets of a task count.
    """
    yield from adjudicate_export(
        partial(_read_tasks, head, options),
        policy=options.annotator_policy,
        config=options.label_config,
        import_log=import_log,
    )


JSON_MIN_FORMAT = CorpusFormat("Label Studio JSON_MIN", is_json_min, read_json_min)


def _read_tasks(
    start: FileHead, options: ReadOptions, ledger: ImportLog
) -> Iterator[AnnotatedTask]:
    """The annotated tasks of an export, from its start."""
    # Label Studio writes the annotations of a task one after the other.
    for name, group in groupby(_read_items(start), key=lambda item: str(item.get("id"))):
        where = f"{start.path}, task {name}"
        items = [item for item in group if item.get("annotation_id", "") is not None]
        if not items:
            ledger.record_warning("task without annotation", name)
            continue
        fields = _task_data(items[0])
        expected = options.label_config.data_key if options.label_config else None
        key = find_text_key(fields, where, key=expected)
        meta = {name: value for name, value in fields.items() if name != key}
        yield (
            Document(name, fields[key], meta=meta),
            [
                parse_annotation(item, _parse_raw_spans(item, where, options, ledger))
                for item in items
            ],
        )


def _read_items(start: FileHead) -> Iterator[dict[str, Any]]:
    """The items of the array, each an object."""
    for number, item in enumerate(stream_array_items(start.path), start=1):
        if not isinstance(item, dict):
            raise FormatError(f"{start.path}, item {number} is not an annotation: {item!r:.40}")
        yield item


def _task_data(item: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a task's data: what neither the export nor a control has added."""
    return {
        key: value
        for key, value in item.items()
        if key not in ANNOTATION_KEYS and not isinstance(value, list)
    }


def _parse_raw_spans(
    item: Mapping[str, Any], where: str, options: ReadOptions, ledger: ImportLog
) -> list[RawSpan]:
    """The labelled stretches of text; each control has a list under its name."""
    name = str(item.get("id"))
    controls = {
        key: found
        for key, value in item.items()
        if (found := _parse_control_raw_spans(value, where))
    }
    if options.label_config is None:
        if len(controls) > 1:
            ledger.record_warning("several controls", name)
        return [region for found in controls.values() for region in found]
    for key in controls.keys() - {options.label_config.control}:
        ledger.record_warning("another control", f"{name}: {key}", count=len(controls[key]))
    return controls.get(options.label_config.control, [])


def _parse_control_raw_spans(value: object, where: str) -> list[RawSpan]:
    """The regions in a field, if it is the field of a ``<Labels>``."""
    return [
        raw_span_from_value(entry, where)
        for entry in (value if isinstance(value, list) else ())
        if isinstance(entry, dict) and is_span_result({"value": entry}, where)
    ]
