"""Label Studio's JSON_MIN export: a flat array with one item per annotation.

Cancelled annotations, drafts and ground truth marks are not in it; JSON has more.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

from tagalong.backend.annotations.annotated_task import AnnotatedTask, Annotation
from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.documents.offsets import RawSpan
from tagalong.backend.formats.file_format import FileFormat, ReadOptions
from tagalong.backend.formats.json_items import stream_array_items
from tagalong.backend.formats.label_studio_tasks import (
    make_annotated_task,
    make_tasks_of_texts,
    parse_annotation,
    read_adjudicated,
    read_texts_of_tasks,
)
from tagalong.backend.formats.sniff import FileHead
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.results import (
    SPAN_TYPE,
    is_span_result,
    name_task,
    raw_span_from_value,
    unlabelled_span,
)
from tagalong.ner.errors import FormatError, InputError

ANNOTATION_KEYS = frozenset(
    {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement"}
)  # added by the export to the fields of the task's data
REGIONS_TEXT = re.compile(r"\s*\[\s*\{.*\blabels\b", re.DOTALL)  # as text, in a cell of a table


ItemReader = Callable[[FileHead, LabelConfig | None], Iterator[Any]]


def read_item_tasks(
    head: FileHead, options: ReadOptions, import_log: ImportLog, *, read_items: ItemReader
) -> Iterator[AnnotatedTask]:
    """Read the tasks of a flat export, of which `read_items` gives an item per annotation."""
    controls = [text.control for text in options.label_config.texts] if options.label_config else []
    if len({*controls}) < len(controls):
        raise FormatError(
            f"{head.path} does not say which text each region is in, and a <Labels> of the "
            "labelling config has several: export JSON, which does",
            code="regions-without-object",
        )
    # Label Studio writes the annotations of a task one after the other.
    items = enumerate(read_items(head, options.label_config), start=1)
    for name, group in groupby(items, key=lambda pair: _task_name(*pair)):
        try:
            yield from _read_task(name, [item for _, item in group], head, options, import_log)
        except InputError as error:
            yield AnnotatedTask(name, None, error=error)


def _read_items(head: FileHead, _: LabelConfig | None) -> Iterator[Any]:
    return stream_array_items(head.file)


def _task_name(number: int, item: object) -> str:
    return name_task(item, number) if isinstance(item, dict) else f"item {number}"


def _read_task(
    name: str,
    group: Sequence[Any],
    head: FileHead,
    options: ReadOptions,
    import_log: ImportLog,
) -> list[AnnotatedTask]:
    # One for each text of the config; none for a task without annotations.
    for item in group:
        if not isinstance(item, dict):
            raise FormatError(
                f"{head.path}, {name} is not an annotation: {item!r:.40}",
                code="not-an-annotation",
            )
    where = f"{head.path}, task {name}"
    items = [
        _parse_cells(item, where) for item in group if item.get("annotation_id", "") is not None
    ]
    if not items:
        import_log.record_warning("task without annotation", name)
        return []
    fields = {  # of the task's data; a list is what a control has added
        key: value
        for key, value in items[0].items()
        if key not in ANNOTATION_KEYS and not isinstance(value, list)
    }
    regions = [_parse_regions(item, name, where, options, import_log) for item in items]

    def annotations_of(text: LabelConfig | None) -> list[Annotation]:
        return [
            parse_annotation(item, found.of(None if text is None else text.control))
            for item, found in zip(items, regions, strict=True)
        ]

    config = options.label_config
    if config is not None and config.other_texts:
        if any(found.unlabelled for found in regions):
            raise FormatError(
                f"{where} has regions of other controls than <Labels>, and does not say the text "
                "of each: export JSON, which does",
                code="regions-without-object",
            )
        return make_tasks_of_texts(
            name, fields, annotations_of, where=where, config=config, record=items[0]
        )
    return [
        make_annotated_task(
            name, fields, annotations_of(config), where=where, config=config, record=items[0]
        )
    ]


@dataclass(frozen=True, slots=True)
class _Regions:
    by_control: Mapping[str, Sequence[RawSpan]]  # of each <Labels>
    unlabelled: Sequence[RawSpan]  # of other kinds of controls

    def of(self, control: str | None) -> list[RawSpan]:
        """The regions of a control, or of all."""
        names = self.by_control if control is None else [control]
        labelled = [region for name in names for region in self.by_control.get(name, ())]
        return [*labelled, *self.unlabelled]


def _parse_cells(item: Mapping[str, Any], where: str) -> dict[str, Any]:
    # Tools that write tables may turn regions into text.
    return {
        key: _parse_cell(value, key, where)
        if isinstance(value, str) and REGIONS_TEXT.match(value)
        else value
        for key, value in item.items()
    }


def _parse_cell(value: str, key: str, where: str) -> object:
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise FormatError(
            f"{where} has regions under {key!r} that are no JSON ({value!r:.40}): export it again, "
            "and change nothing in a spreadsheet",
            code="regions-not-json",
        ) from error


def _parse_regions(
    item: Mapping[str, Any], name: str, where: str, options: ReadOptions, import_log: ImportLog
) -> _Regions:
    # Each control has a list of regions under its name.
    entries = {
        key: [entry for entry in value if isinstance(entry, dict)]
        for key, value in item.items()
        if isinstance(value, list)
    }
    parsed = {key: _parse_control_raw_spans(found, where) for key, found in entries.items()}
    controls = {key: found for key, found in parsed.items() if found}
    labelled = {(one.start, one.end) for found in controls.values() for one in found}
    unlabelled = _parse_other_regions(entries, labelled, name, import_log)
    if options.label_config is None:
        if len(controls) > 1:
            import_log.record_warning("several controls", name)
        return _Regions(controls, unlabelled)
    for key in controls.keys() - {text.control for text in options.label_config.texts}:
        import_log.record_warning("another control", f"{name}: {key}", count=len(controls[key]))
    return _Regions(controls, unlabelled)


def _parse_control_raw_spans(entries: Sequence[Mapping[str, Any]], where: str) -> list[RawSpan]:
    # Empty where the field is not one of a <Labels>.
    return [
        raw_span_from_value(entry, where)
        for entry in entries
        if is_span_result({"value": entry}, where)
    ]


def _parse_other_regions(
    entries: Mapping[str, Sequence[Mapping[str, Any]]],
    labelled: Collection[tuple[int, int]],
    name: str,
    import_log: ImportLog,
) -> list[RawSpan]:
    # Without an id, an entry with the place of a region says more about it.
    regions = []
    for key, found in entries.items():
        for entry in found:
            region = None if SPAN_TYPE in entry else unlabelled_span({"value": entry})
            if region is None:
                continue
            if (region.start, region.end) in labelled:
                import_log.record_warning("other annotation", f"{name}: {key}")
            else:
                regions.append(region)
    return regions


LABEL_STUDIO_MIN_FORMAT = FileFormat(
    name="Label Studio JSON_MIN",
    matches=lambda head: (
        head.structure == "array" and {"id", "annotator", "lead_time"} <= head.first_record.keys()
    ),
    read_annotations=read_adjudicated(partial(read_item_tasks, read_items=_read_items)),
    read_texts=read_texts_of_tasks(partial(read_item_tasks, read_items=_read_items)),
)
