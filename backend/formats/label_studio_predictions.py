"""Predictions in Label Studio's JSON, as the tasks that `tagalong prelabel` writes have them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tagalong.backend.annotations.annotators import read_by_evidence
from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.documents.jsonl import (
    PredictedDocument,
    Record,
    predicted_document_from_json,
    raw_spans_from_json,
)
from tagalong.backend.documents.offsets import RawSpan
from tagalong.backend.formats.file_format import ReadOptions
from tagalong.backend.formats.label_studio_tasks import (
    TASK_SHAPE,
    find_only_object,
    has_text,
    is_list_of_objects,
    is_result_of,
)
from tagalong.backend.formats.records import parse_each, read_records
from tagalong.backend.formats.sniff import FileHead
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.results import (
    find_text_key,
    is_place,
    is_span_result,
    raw_span_from_value,
    to_shown_text,
)
from tagalong.backend.label_studio.task_text import TaskTextReader
from tagalong.ner.document import Document
from tagalong.ner.errors import FormatError, InputError

PREDICTION_META_KEYS = frozenset({"model_version", "score"})  # in the meta of a model's document

_StatedPrediction = tuple[PredictedDocument, Sequence[RawSpan]]


def read_task_predictions(
    head: FileHead, options: ReadOptions, import_log: ImportLog
) -> Iterator[Document]:
    """Read the last prediction of each task, and the document of each text."""

    def parse(number: int, record: Record) -> Iterator[_StatedPrediction]:
        name = record.name(number)
        return _parse_task(name, record.fields, f"{head.path}, task {name}", options.label_config)

    return read_by_evidence(
        lambda log: parse_each(read_records(head, TASK_SHAPE), parse, log),
        config=options.label_config,
        import_log=import_log,
    )


def _parse_task(
    name: str, task: Mapping[str, Any], where: str, config: LabelConfig | None
) -> Iterator[_StatedPrediction]:
    # One for each text.
    predictions = task.get("predictions")
    if not is_list_of_objects(predictions) or not predictions:
        raise FormatError(
            f"{where} has no prediction with its regions, of which exports of projects have "
            "only ids: give a file that tagalong prelabel wrote",
            code="task-without-prediction",
        )
    prediction = predictions[-1]
    result = prediction.get("result")
    if not is_list_of_objects(result):
        raise FormatError(
            f"{where} has a result that is not a list of objects: write it again",
            code="task-result-not-a-list",
        )
    spans = [item for item in result if is_span_result(item, where)]
    stated = {key: prediction[key] for key in PREDICTION_META_KEYS if prediction.get(key)}
    if is_place(stated.get("score")):  # a place in the annotation queue is no confidence
        del stated["score"]
    ours = [item for item in spans if config is not None and is_result_of(item, config.texts)]
    if config is None or not config.other_texts or (spans and not ours):
        # A file of another project has its own names.
        yield _parse_prediction(name, task, ours or spans, stated, where, config)
        return
    for text in config.texts:
        own = [item for item in ours if is_result_of(item, [text])]
        if own or has_text(task.get("data"), text):
            alone = replace(text, other_texts=())
            yield _parse_prediction(f"{name}@{text.object}", task, own, stated, where, alone)


def _parse_prediction(
    name: str,
    task: Mapping[str, Any],
    spans: Sequence[Mapping[str, Any]],
    stated: Mapping[str, Any],
    where: str,
    config: LabelConfig | None,
) -> _StatedPrediction:
    # Read as a line of JSON lines, which checks the values.
    entities = [
        {"start": region.start, "end": region.end, "label": label, "text": region.text}
        | {"score": item.get("score")}
        for item in spans
        for region in [raw_span_from_value(item["value"], where)]
        for label in region.labels
    ]
    text = _read_predicted_text(task, where, config, find_only_object(spans, where))
    line = {**stated, "id": name, "text": text, "entities": entities}
    return predicted_document_from_json(line, where), raw_spans_from_json(line, where)


def _read_predicted_text(
    task: Mapping[str, Any], where: str, config: LabelConfig | None, hint: str | None
) -> str:
    if config is not None:
        try:
            return TaskTextReader().read_document(task, config, where=where).text
        except InputError:
            pass  # a file of another project has its own key
    data = task.get("data")
    key = find_text_key(data, where, hint=hint)
    return to_shown_text(data[key]) or "" if isinstance(data, dict) else ""
