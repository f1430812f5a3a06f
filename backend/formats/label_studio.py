"""Label Studio's JSON: an array of tasks, with the annotations or predictions of each.

An export is read as a stream, one task at a time. That of a large project holds ten times more than
its texts and spans. Old exports say ``completions`` for ``annotations``.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeGuard

from tagalong.backend.annotations.annotators import AnnotatedTask, Annotation, adjudicate_export
from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.documents.jsonl import prediction_from_json
from tagalong.backend.documents.offsets import RawSpan
from tagalong.backend.formats.file_format import (
    FileFormat,
    FormatWriter,
    ReadOptions,
    SerializedDocument,
)
from tagalong.backend.formats.records import join_array
from tagalong.backend.formats.sniff import FileHead, count_records, stream_array_items
from tagalong.backend.formats.texts import read_json_texts
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.results import (
    CONFIG_ADVICE,
    TEXT_RANGES_KEY,
    find_text_key,
    is_place,
    is_span_result,
    place_texts,
    raw_span_from_value,
    result_from_spans,
    without_text,
)
from tagalong.backend.label_studio.task_text import TaskTextReader
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import FormatError

PREDICTION_META_KEYS = frozenset({"model_version", "score"})  # in the meta of a model's document


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
        )

    return read


def read_task_predictions(head: FileHead) -> Iterator[tuple[Document, Prediction]]:
    """Read the last prediction of each task, and the document without spans."""
    for number, task in enumerate(stream_array_items(head.file), start=1):
        fields = task if isinstance(task, dict) else {}
        name = str(fields.get("id", number))
        where = f"{head.path}, task {name}"
        predictions = fields.get("predictions")
        if not _is_list_of_objects(predictions) or not predictions:
            raise FormatError(
                f"{where} has no prediction with its regions, of which exports of projects have "
                "only ids: give a file that tagalong prelabel wrote",
                code="task-without-prediction",
            )
        yield prediction_from_json(_task_to_line(name, fields, predictions[-1], where), where)


def document_to_task(document: Document, config: LabelConfig) -> dict[str, Any]:
    """Make a task for Label Studio's import.

    Its spans become an annotation, or a prediction where its meta has the version of the model that
    found them. Label Studio gives the task an id of its own, so ours goes into the data too.
    """
    result = result_from_spans(document, document.spans, config)
    ours = {*PREDICTION_META_KEYS, *([TEXT_RANGES_KEY] if config.other_texts else [])}
    extra = {key: value for key, value in document.meta.items() if key not in ours}
    data = {"id": document.id, **extra, **place_texts(document, config)}
    task = {"id": document.id, "data": data}
    if "model_version" in document.meta:
        about = {key: document.meta[key] for key in PREDICTION_META_KEYS if key in document.meta}
        return {**task, "predictions": [{**about, "result": result}]}
    # Stated, because Label Studio takes imported annotations for ground truth otherwise.
    return {**task, "annotations": [{"result": result, "ground_truth": False}]}


def _serialize(document: Document, config: LabelConfig) -> SerializedDocument:
    task = json.dumps(document_to_task(document, config), ensure_ascii=False)
    return SerializedDocument(task, masked_range_count=len(document.masked_ranges))


def _serialize_prediction(document: Document, prediction: Prediction, config: LabelConfig) -> str:
    about = {"model_version": prediction.version, "score": prediction.score}
    predicted = Document(document.id, document.text, prediction.spans, {**document.meta, **about})
    return _serialize(predicted, config).content


def _task_to_line(
    name: str, task: Mapping[str, Any], prediction: Mapping[str, Any], where: str
) -> dict[str, Any]:
    # The object of a line of JSON lines, which `prediction_from_json` reads.
    result = prediction.get("result")
    if not _is_list_of_objects(result):
        raise FormatError(
            f"{where} has a result that is not a list of objects: write it again",
            code="task-result-not-a-list",
        )
    spans = [item for item in result if is_span_result(item, where)]
    hint = str(spans[0].get("to_name")) if spans else None
    entities = [
        {"start": region.start, "end": region.end, "label": label, "text": region.text}
        | {"score": item.get("score")}
        for item in spans
        for region in [raw_span_from_value(item["value"], where)]
        for label in region.labels
    ]
    data = task.get("data")
    key = find_text_key(data, where, hint=hint)
    line = {"id": name, "text": data[key] if isinstance(data, dict) else "", "entities": entities}
    stated = {key: prediction[key] for key in PREDICTION_META_KEYS if prediction.get(key)}
    if is_place(stated.get("score")):  # a place in the annotation queue is no confidence
        del stated["score"]
    return line | stated


def _is_list_of_objects(value: object) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _read_tasks(
    head: FileHead, options: ReadOptions, import_log: ImportLog
) -> Iterator[AnnotatedTask]:
    for number, task in enumerate(stream_array_items(head.file), start=1):
        if not isinstance(task, dict):
            raise FormatError(
                f"{head.path}, item {number} is not a task but {task!r:.40}", code="not-a-task"
            )
        name = str(task.get("id", number))
        where = f"{head.path}, task {name}"
        annotations = _submitted_annotations(task, name, where, import_log)
        if not annotations:
            import_log.record_warning("task without annotation", name)
            continue
        results = [_span_results(one, name, where, options, import_log) for one in annotations]
        items = [item for result in results for item in result]
        document = _read_document(task, name, items, where, options.label_config)
        if options.label_config is None and len({str(item.get("from_name")) for item in items}) > 1:
            import_log.record_warning("several controls", name)
        parsed = [
            parse_annotation(raw, [raw_span_from_value(item["value"], where) for item in result])
            for raw, result in zip(annotations, results, strict=True)
        ]
        yield document, parsed


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
        return float(when)
    try:
        moment = datetime.fromisoformat(str(when))
    except ValueError:
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _submitted_annotations(
    task: Mapping[str, Any], name: str, where: str, import_log: ImportLog
) -> list[dict[str, Any]]:
    raw = task.get("annotations", task.get("completions")) or []
    if not _is_list_of_objects(raw):
        raise FormatError(
            f"{where} has annotations that are not a list of objects: export it again",
            code="task-annotations-not-a-list",
        )
    kept = [one for one in raw if not (one.get("was_cancelled") or one.get("skipped"))]
    if len(kept) < len(raw):
        import_log.record_warning("cancelled annotation", name, count=len(raw) - len(kept))
    if drafts := task.get("drafts"):
        # Drafts are skipped, so a draft of an unknown shape is no reason to refuse the task.
        count = len(drafts) if isinstance(drafts, list) else 1
        import_log.record_warning("draft", name, count=count)
    return kept


def _span_results(
    annotation: Mapping[str, Any],
    name: str,
    where: str,
    options: ReadOptions,
    import_log: ImportLog,
) -> list[dict[str, Any]]:
    # The regions of the config's control; without a config, those of every <Labels>.
    result = annotation.get("result") or []
    if not _is_list_of_objects(result):
        raise FormatError(
            f"{where} has a result that is not a list of objects: export it again",
            code="task-result-not-a-list",
        )
    items = [item for item in result if is_span_result(item, where)]
    if options.label_config is None:
        return items
    named = (options.label_config.control, options.label_config.object)
    ours = [item for item in items if (item.get("from_name"), item.get("to_name")) == named]
    if len(ours) < len(items):
        others = {str(item.get("from_name")) for item in items} - {named[0]}
        example = f"{name}: {', '.join(sorted(others)) or 'another object'}"
        import_log.record_warning("another control", example, count=len(items) - len(ours))
    return ours


def _read_document(
    task: Mapping[str, Any],
    name: str,
    items: Sequence[Mapping[str, Any]],
    where: str,
    config: LabelConfig | None,
) -> Document:
    data = task.get("data")
    fields: Mapping[str, Any] = data if isinstance(data, dict) else {}
    if config is not None:
        document = TaskTextReader().read_document({"id": name, "data": data}, config, where=where)
        return replace(document, meta=without_text(fields, config))
    objects = sorted({str(item["to_name"]) for item in items if "to_name" in item})
    if len(objects) > 1:
        names = ", ".join(repr(name) for name in objects)
        raise FormatError(
            f"{where} has regions in several objects ({names}): {CONFIG_ADVICE}",
            code="task-with-several-objects",
        )
    key = find_text_key(data, where, hint=objects[0] if objects else None)
    meta = {name: value for name, value in fields.items() if name != key}
    return Document(name, fields[key], meta=meta)


LABEL_STUDIO_FORMAT = FileFormat(
    name="Label Studio JSON",
    # Unannotated exports too, so that reading can say that they have no annotations.
    matches=lambda head: (
        head.structure == "array" and isinstance(head.first_record.get("data"), dict)
    ),
    read_annotations=read_adjudicated(_read_tasks),
    read_texts=read_json_texts,
    read_predictions=read_task_predictions,
    count=count_records,
    writer=FormatWriter(
        option="label-studio",
        description="Label Studio's tasks",  # journals of unfinished batches have it
        serialize=_serialize,
        serialize_prediction=_serialize_prediction,
        join=join_array,
        suffix=".json",
    ),
)
