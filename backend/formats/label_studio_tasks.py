"""Tasks of Label Studio's exports, which the readers of all its formats share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeGuard

from tagalong.backend.annotations.annotated_task import (
    AnnotatedTask,
    Annotation,
    seconds_from_number,
)
from tagalong.backend.annotations.annotators import adjudicate_export
from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.documents.offsets import RawSpan
from tagalong.backend.documents.source_item import SourceItem
from tagalong.backend.formats.file_format import ReadOptions
from tagalong.backend.formats.sniff import FileHead
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.results import (
    CONFIG_ADVICE,
    find_text_key,
    find_value,
    to_shown_text,
    without_text,
)
from tagalong.backend.label_studio.task_text import TaskTextReader
from tagalong.ner.document import Document
from tagalong.ner.errors import FormatError, InputError

REFUSAL = (
    "task {name} has another text than its regions state, in every common counting of offsets: "
    "annotate it again, or name the right text with --label-config"
)
TASK_SHAPE = '{"id", "data", "annotations"}'


def is_list_of_objects(value: object) -> TypeGuard[list[dict[str, Any]]]:
    """Whether a JSON value is a list of nothing but objects."""
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def find_only_object(items: Sequence[Mapping[str, Any]], where: str) -> str | None:
    """The ``to_name`` of all results, None without any; raises `FormatError` for several."""
    objects = sorted({str(item["to_name"]) for item in items if "to_name" in item})
    if len(objects) > 1:
        names = ", ".join(repr(name) for name in objects)
        raise FormatError(
            f"{where} has regions in several texts ({names}): {CONFIG_ADVICE}",
            code="task-with-several-objects",
        )
    return objects[0] if objects else None


def is_result_of(item: Mapping[str, Any], texts: Sequence[LabelConfig]) -> bool:
    """Whether a result is of one of these texts, by its ``from_name`` and ``to_name``."""
    names = (item.get("from_name"), item.get("to_name"))
    return any((text.control, text.object) == names for text in texts)


def has_text(data: object, text: LabelConfig) -> bool:
    """Whether the data of a task have a text."""
    return bool(find_value(data, text.data_key) or text.template)


def read_adjudicated(
    read_tasks: Callable[[FileHead, ReadOptions, ImportLog], Iterator[AnnotatedTask]],
) -> Callable[[FileHead, ReadOptions, ImportLog], Iterator[Document]]:
    """Make a reader of documents from a reader of tasks with one or more annotations."""

    def read(head: FileHead, options: ReadOptions, import_log: ImportLog) -> Iterator[Document]:
        return adjudicate_export(
            partial(read_tasks, head, options),
            policy=options.annotator_policy,
            config=options.label_config,
            import_log=import_log,
            refusal=REFUSAL,
        )

    return read


def read_texts_of_tasks(
    read_tasks: Callable[[FileHead, ReadOptions, ImportLog], Iterator[AnnotatedTask]],
) -> Callable[[FileHead, LabelConfig | None], Iterator[SourceItem]]:
    """Make a reader of texts from a reader of tasks; a task without a text has the reason."""

    def read(head: FileHead, config: LabelConfig | None) -> Iterator[SourceItem]:
        tasks = read_tasks(head, ReadOptions(label_config=config), ImportLog())
        for position, task in enumerate(tasks):
            yield SourceItem(position, task.name, task.document, str(task.error or ""))

    return read


def make_tasks_of_texts(
    name: str,
    data: object,
    annotations_of: Callable[[LabelConfig], Sequence[Annotation]],
    *,
    where: str,
    config: LabelConfig,
    record: Mapping[str, Any] | None = None,
) -> list[AnnotatedTask]:
    """Make a task of its own for each text of a config: its offsets count from its own start."""
    tasks = []
    for text in config.texts:
        annotations = annotations_of(text)
        if not (has_text(record or data, text) or any(one.regions for one in annotations)):
            continue
        part = make_annotated_task(
            f"{name}@{text.object}",
            data,
            annotations,
            where=where,
            config=replace(text, other_texts=()),
            record=record,
        )
        if part.document is not None:
            meta = without_text(part.data, config)
            part = replace(part, document=replace(part.document, meta=meta))
        tasks.append(part)
    if tasks:
        return tasks
    without = make_annotated_task(name, data, annotations_of(config), where=where, config=config)
    return [without]  # has the reason


def make_annotated_task(
    name: str,
    data: object,
    annotations: Sequence[Annotation],
    *,
    where: str,
    config: LabelConfig | None,
    hint: str | None = None,
    record: Mapping[str, Any] | None = None,
) -> AnnotatedTask:
    """Make a task with its expected text: that of the config, or else the hint's or the only one.

    A task without such a text has the reason. ``record`` has more than the data, for a config's
    path into it.
    """
    fields: Mapping[str, Any] = data if isinstance(data, dict) else {}
    try:
        if config is not None:
            task = {"id": name, "data": record or fields}
            document = TaskTextReader().read_document(task, config, where=where)
            document = replace(document, meta=without_text(fields, config))
        else:
            key = find_text_key(data, where, hint=hint)
            meta = {field: value for field, value in fields.items() if field != key}
            document = Document(name, to_shown_text(fields[key]) or "", meta=meta)
    except InputError as error:
        return AnnotatedTask(name, None, annotations, fields, error)
    return AnnotatedTask(name, document, annotations, fields)


def parse_annotation(raw: Mapping[str, Any], raw_spans: Sequence[RawSpan]) -> Annotation:
    """Take annotator, time and ground truth from an annotation of an export, or a JSON_MIN item."""
    who = raw.get("completed_by", raw.get("annotator"))
    if isinstance(who, dict):
        who = who.get("id", who.get("email"))
    when = raw.get("updated_at") or raw.get("created_at")
    return Annotation(
        annotator="" if who is None else str(who),
        updated_at=_parse_timestamp(when),
        regions=tuple(raw_spans),
        ground_truth=bool(raw.get("ground_truth")),
    )


def _parse_timestamp(when: object) -> float:
    # Seconds since 1970. Exports have ISO 8601, old ones a number.
    if isinstance(when, int | float):
        return seconds_from_number(when)
    try:
        moment = datetime.fromisoformat(str(when))
    except ValueError:
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
