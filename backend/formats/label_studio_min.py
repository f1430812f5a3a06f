"""Label Studio's JSON_MIN export: a flat array with one item per annotation.

Cancelled annotations, drafts and ground truth marks are not in it; JSON has more.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Any

from tagalong.backend.annotations.annotators import AnnotatedTask
from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.documents.offsets import RawSpan
from tagalong.backend.formats.file_format import FileFormat, ReadOptions
from tagalong.backend.formats.label_studio import parse_annotation, read_adjudicated
from tagalong.backend.formats.sniff import FileHead, stream_array_items
from tagalong.backend.label_studio.results import (
    find_text_key,
    is_span_result,
    raw_span_from_value,
    without_text,
)
from tagalong.backend.label_studio.task_text import TaskTextReader
from tagalong.ner.document import Document
from tagalong.ner.errors import FormatError

ANNOTATION_KEYS = frozenset(
    {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement"}
)  # added by the export to the fields of the task's data


ItemReader = Callable[[FileHead], Iterator[dict[str, Any]]]


def read_item_tasks(
    head: FileHead, options: ReadOptions, import_log: ImportLog, *, read_items: ItemReader
) -> Iterator[AnnotatedTask]:
    """Read the tasks of a flat export, of which `read_items` gives an item per annotation."""
    # Label Studio writes the annotations of a task one after the other.
    for name, group in groupby(read_items(head), key=lambda item: str(item.get("id"))):
        where = f"{head.path}, task {name}"
        items = [item for item in group if item.get("annotation_id", "") is not None]
        if not items:
            import_log.record_warning("task without annotation", name)
            continue
        fields = {  # of the task's data; a list is what a control has added
            key: value
            for key, value in items[0].items()
            if key not in ANNOTATION_KEYS and not isinstance(value, list)
        }
        if (config := options.label_config) is None:
            key = find_text_key(fields, where)
            meta = {name: value for name, value in fields.items() if name != key}
            document = Document(name, fields[key], meta=meta)
        else:
            task = {"id": name, "data": items[0]}
            document = TaskTextReader().read_document(task, config, where=where)
            document = replace(document, meta=without_text(fields, config))
        annotations = [
            parse_annotation(item, _parse_raw_spans(item, where, options, import_log))
            for item in items
        ]
        yield document, annotations


def _read_items(head: FileHead) -> Iterator[dict[str, Any]]:
    for number, item in enumerate(stream_array_items(head.file), start=1):
        if not isinstance(item, dict):
            raise FormatError(
                f"{head.path}, item {number} is not an annotation: {item!r:.40}",
                code="not-an-annotation",
            )
        yield item


def _parse_raw_spans(
    item: Mapping[str, Any], where: str, options: ReadOptions, import_log: ImportLog
) -> list[RawSpan]:
    # Each control has a list of regions under its name.
    name = str(item.get("id"))
    parsed = {key: _parse_control_raw_spans(value, where) for key, value in item.items()}
    controls = {key: found for key, found in parsed.items() if found}
    if options.label_config is None:
        if len(controls) > 1:
            import_log.record_warning("several controls", name)
        return [region for found in controls.values() for region in found]
    for key in controls.keys() - {options.label_config.control}:
        import_log.record_warning("another control", f"{name}: {key}", count=len(controls[key]))
    return controls.get(options.label_config.control, [])


def _parse_control_raw_spans(value: object, where: str) -> list[RawSpan]:
    # Empty where the field is not one of a <Labels>.
    return [
        raw_span_from_value(entry, where)
        for entry in (value if isinstance(value, list) else ())
        if isinstance(entry, dict) and is_span_result({"value": entry}, where)
    ]


LABEL_STUDIO_MIN_FORMAT = FileFormat(
    name="Label Studio JSON_MIN",
    matches=lambda head: (
        head.structure == "array" and {"id", "annotator", "lead_time"} <= head.first_record.keys()
    ),
    read_annotations=read_adjudicated(partial(read_item_tasks, read_items=_read_items)),
)
