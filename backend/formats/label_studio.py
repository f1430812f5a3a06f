"""Label Studio's JSON: an array of tasks, with the annotations or predictions of each.

An export is read as a stream, one task at a time. That of a large project holds ten times more than
its texts and spans. Old exports say ``completions`` for ``annotations``.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tagalong.backend.annotations.annotated_task import (
    AnnotatedTask,
    Annotation,
)
from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.documents.jsonl import check_strings
from tagalong.backend.formats.file_format import (
    FileFormat,
    FormatWriter,
    ReadOptions,
    SerializedDocument,
)
from tagalong.backend.formats.label_studio_predictions import (
    PREDICTION_META_KEYS,
    read_task_predictions,
)
from tagalong.backend.formats.label_studio_tasks import (
    TASK_SHAPE,
    find_only_object,
    is_list_of_objects,
    is_result_of,
    make_annotated_task,
    make_tasks_of_texts,
    parse_annotation,
    read_adjudicated,
)
from tagalong.backend.formats.records import join_array, read_records
from tagalong.backend.formats.sniff import FileHead, count_records
from tagalong.backend.formats.texts import read_json_texts
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.results import (
    TEXT_RANGES_KEY,
    is_span_result,
    place_texts,
    raw_span_from_value,
    result_from_spans,
    unlabelled_span,
)
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import FormatError, InputError
from tagalong.ner.text_sanitizing import escape_unprintable

ANNOTATIONS_KEYS = frozenset({"annotations", "completions", "predictions"})


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


def _is_label_studio(head: FileHead) -> bool:
    # Unannotated exports too, so that reading can say that they have no annotations.
    record = head.first_record
    is_line = head.structure == "lines" and not ANNOTATIONS_KEYS.isdisjoint(record)
    return (head.structure == "array" or is_line) and isinstance(record.get("data"), dict)


def _read_tasks(
    head: FileHead, options: ReadOptions, import_log: ImportLog
) -> Iterator[AnnotatedTask]:
    for number, record in enumerate(read_records(head, TASK_SHAPE), start=1):
        name = record.name(number)
        try:
            if head.structure == "lines":  # the whole of an array is checked before
                check_strings(record.fields, record.where, field="data")
            where = f"{head.path}, task {name}"
            yield from _read_task(record.fields, name, where, options, import_log)
        except InputError as error:
            yield AnnotatedTask(escape_unprintable(name), None, error=error)


def _read_task(
    task: Mapping[str, Any], name: str, where: str, options: ReadOptions, import_log: ImportLog
) -> list[AnnotatedTask]:
    # One for each text of the config; none for a task without annotations.
    raw = _submitted_annotations(task, name, where, import_log)
    if not raw:
        import_log.record_warning("task without annotation", name)
        return []
    results = [_read_result(one, name, where, options, import_log) for one in raw]
    if (config := options.label_config) is not None and config.other_texts:

        def annotations_of(text: LabelConfig) -> list[Annotation]:
            return [
                _make_annotation(
                    one,
                    [item for item in result.spans if item["to_name"] == text.object],
                    [item for item in result.unlabelled if item.get("to_name") == text.object],
                    where,
                )
                for one, result in zip(raw, results, strict=True)
            ]

        return make_tasks_of_texts(
            name, task.get("data"), annotations_of, where=where, config=config
        )
    items = [item for result in results for item in result.spans]
    if options.label_config is None and len({str(item.get("from_name")) for item in items}) > 1:
        import_log.record_warning("several controls", name)
    annotations = [
        _make_annotation(one, result.spans, result.unlabelled, where)
        for one, result in zip(raw, results, strict=True)
    ]
    hint = None if config else find_only_object(items, where)
    return [
        make_annotated_task(
            name, task.get("data"), annotations, where=where, config=config, hint=hint
        )
    ]


def _make_annotation(
    raw: Mapping[str, Any],
    spans: Sequence[Mapping[str, Any]],
    unlabelled: Sequence[Mapping[str, Any]],
    where: str,
) -> Annotation:
    others = dict.fromkeys(filter(None, map(unlabelled_span, unlabelled)))
    regions = [raw_span_from_value(item["value"], where) for item in spans]
    return parse_annotation(raw, [*regions, *others])


def _submitted_annotations(
    task: Mapping[str, Any], name: str, where: str, import_log: ImportLog
) -> list[dict[str, Any]]:
    raw = task.get("annotations", task.get("completions")) or []
    if not is_list_of_objects(raw):
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


@dataclass(frozen=True, slots=True)
class _Result:
    spans: Sequence[Mapping[str, Any]]  # the regions of the config's controls, or of every <Labels>
    unlabelled: Sequence[Mapping[str, Any]]  # regions of other kinds of controls


def _read_result(
    annotation: Mapping[str, Any],
    name: str,
    where: str,
    options: ReadOptions,
    import_log: ImportLog,
) -> _Result:
    result = annotation.get("result") or []
    if not is_list_of_objects(result):
        raise FormatError(
            f"{where} has a result that is not a list of objects: export it again",
            code="task-result-not-a-list",
        )
    items = [item for item in result if is_span_result(item, where)]
    unlabelled = list[Mapping[str, Any]]()
    if len(items) < len(result):
        others = [item for item in result if not is_span_result(item, where)]
        unlabelled = _read_other_items(others, items, name, import_log)
    if options.label_config is None:
        return _Result(items, unlabelled)
    texts = options.label_config.texts
    ours = [item for item in items if is_result_of(item, texts)]
    if len(ours) < len(items):
        controls = {str(item.get("from_name")) for item in items} - {text.control for text in texts}
        example = f"{name}: {', '.join(sorted(controls)) or 'another object'}"
        import_log.record_warning("another control", example, count=len(items) - len(ours))
    return _Result(ours, unlabelled)


def _read_other_items(
    others: Sequence[Mapping[str, Any]],
    items: Sequence[Mapping[str, Any]],
    name: str,
    import_log: ImportLog,
) -> list[Mapping[str, Any]]:
    # The items of a region share its id: then they say more about it, and mark nothing new.
    labelled = {str(item.get("id")) for item in items if "id" in item}
    regions = []
    for item in others:
        if unlabelled_span(item) is not None and str(item.get("id")) not in labelled:
            regions.append(item)
        else:
            kind = "relation" if item.get("type") == "relation" else "other annotation"
            import_log.record_warning(kind, f"{name}: {item.get('type')}")
    return regions


LABEL_STUDIO_FORMAT = FileFormat(
    name="Label Studio JSON",
    matches=_is_label_studio,
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
