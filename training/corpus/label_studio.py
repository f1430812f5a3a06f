"""Label Studio's JSON export: an array of tasks, each with the annotations of everybody.

Read as a stream, one task at a time: an export of a large project holds ten times more than the
texts and spans that are kept. Old exports say ``completions`` for ``annotations``.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from tagalong.backend.documents.offsets import RawSpan
from tagalong.backend.label_studio.results import (
    CONFIG_ADVICE,
    LabelConfig,
    find_text_key,
    is_span_result,
    raw_span_from_value,
)
from tagalong.ner.document import Document
from tagalong.ner.errors import FormatError
from tagalong.training.corpus.annotators import AnnotatedTask, Annotation, adjudicate_export
from tagalong.training.corpus.formats import CorpusFormat, ReadOptions
from tagalong.training.corpus.import_log import ImportLog
from tagalong.training.corpus.sniff import FileHead, stream_array_items


def is_label_studio_export(head: FileHead) -> bool:
    """Whether a file is an array of tasks.

    Args:
        head: What the start of the file tells.

    Returns:
        True when the first item has ``data``; without annotations too, so that reading can say so.
    """
    return head.structure == "array" and isinstance(head.first_record.get("data"), dict)


def read_label_studio_export(
    head: FileHead, options: ReadOptions, import_log: ImportLog
) -> Iterator[Document]:
    """Read the annotated tasks of an export.

    Args:
        head: What the start of the file tells.
        options: How to read.
        import_log: Gets what is lost, and what had to be judged.

    Yields:
        The documents of one task after the other.

    Raises:
        FormatError: If something is not a task, or a task's text or regions cannot be read.
        OffsetError: If it cannot be told what the offsets of a task count.
    """
    yield from adjudicate_export(
        partial(_read_tasks, head, options),
        policy=options.annotator_policy,
        config=options.label_config,
        import_log=import_log,
    )


LABEL_STUDIO_FORMAT = CorpusFormat(
    "Label Studio JSON", is_label_studio_export, read_label_studio_export
)


def _read_tasks(
    start: FileHead, options: ReadOptions, ledger: ImportLog
) -> Iterator[AnnotatedTask]:
    """The annotated tasks of an export, from its start."""
    for number, task in enumerate(stream_array_items(start.path), start=1):
        if not isinstance(task, dict):
            raise FormatError(f"{start.path}, item {number} is not a task but {task!r:.40}")
        name = str(task.get("id", number))
        where = f"{start.path}, task {name}"
        annotations = _submitted_annotations(task, name, where, ledger)
        if not annotations:
            ledger.record_warning("task without annotation", name)
            continue
        results = [
            _span_results(annotation, name, where, options, ledger) for annotation in annotations
        ]
        items = [item for result in results for item in result]
        key = _find_task_text_key(task, items, where, options.label_config)
        if options.label_config is None and len({str(item.get("from_name")) for item in items}) > 1:
            ledger.record_warning("several controls", name)
        meta = {name: value for name, value in task["data"].items() if name != key}
        yield (
            Document(name, task["data"][key], meta=meta),
            [
                parse_annotation(
                    raw, [raw_span_from_value(item["value"], where) for item in result]
                )
                for raw, result in zip(annotations, results, strict=True)
            ],
        )


def parse_annotation(raw: Mapping[str, Any], raw_spans: Sequence[RawSpan]) -> Annotation:
    """Gather what matters about an annotation.

    Args:
        raw: An annotation of an export; an item of JSON_MIN will do.
        raw_spans: Its regions.

    Returns:
        The annotation. Whoever has no id, name or address stays unnamed.
    """
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
    """Seconds since 1970: exports say ISO 8601, old ones a number."""
    if isinstance(when, int | float):
        return float(when)
    try:
        moment = datetime.fromisoformat(str(when))
    except ValueError:
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _submitted_annotations(
    task: Mapping[str, Any], name: str, where: str, ledger: ImportLog
) -> list[dict[str, Any]]:
    """The annotations of a task that somebody finished and stood by."""
    raw = task.get("annotations", task.get("completions")) or []
    if not isinstance(raw, list) or not all(isinstance(one, dict) for one in raw):
        raise FormatError(
            f"{where} has annotations that are not a list of objects: export it again"
        )
    kept = [one for one in raw if not (one.get("was_cancelled") or one.get("skipped"))]
    if len(kept) < len(raw):
        ledger.record_warning("cancelled annotation", name, count=len(raw) - len(kept))
    if drafts := task.get("drafts"):
        # They are skipped whatever they are, so another shape is no reason to refuse the rest.
        ledger.record_warning("draft", name, count=len(drafts) if isinstance(drafts, list) else 1)
    return kept


def _span_results(
    annotation: Mapping[str, Any], name: str, where: str, options: ReadOptions, ledger: ImportLog
) -> list[dict[str, Any]]:
    """The items of a result that are labelled stretches of the text we want."""
    result = annotation.get("result") or []
    if not isinstance(result, list) or not all(isinstance(item, dict) for item in result):
        raise FormatError(f"{where} has a result that is not a list of objects: export it again")
    items = [item for item in result if is_span_result(item, where)]
    if options.label_config is None:
        return items
    wanted = (options.label_config.control, options.label_config.object)
    ours = [item for item in items if (item.get("from_name"), item.get("to_name")) == wanted]
    if len(ours) < len(items):
        others = {str(item.get("from_name")) for item in items} - {wanted[0]}
        example = f"{name}: {', '.join(sorted(others)) or 'another object'}"
        ledger.record_warning("another control", example, count=len(items) - len(ours))
    return ours


def _find_task_text_key(
    task: Mapping[str, Any],
    items: Sequence[Mapping[str, Any]],
    where: str,
    config: LabelConfig | None,
) -> str:
    """The key of the text that the items of all annotations of a task are about."""
    if config is not None:
        return find_text_key(task.get("data"), where, key=config.data_key)
    objects = sorted({str(item["to_name"]) for item in items if "to_name" in item})
    if len(objects) > 1:
        named = ", ".join(repr(name) for name in objects)
        raise FormatError(f"{where} has regions in several objects ({named}): {CONFIG_ADVICE}")
    hint = objects[0] if objects else None
    return find_text_key(task.get("data"), where, key=None, hint=hint)
