"""Predictions in Label Studio's JSON, as the tasks that `tagalong prelabel` writes have them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tagalong.backend.documents.jsonl import prediction_from_json
from tagalong.backend.formats.file_format import ReadOptions
from tagalong.backend.formats.label_studio_tasks import (
    find_only_object,
    has_text,
    is_list_of_objects,
    is_result_of,
    stream_tasks,
)
from tagalong.backend.formats.sniff import FileHead
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.results import (
    find_text_key,
    is_place,
    is_span_result,
    name_task,
    raw_span_from_value,
    to_shown_text,
)
from tagalong.backend.label_studio.task_text import TaskTextReader
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import FormatError, InputError

PREDICTION_META_KEYS = frozenset({"model_version", "score"})  # in the meta of a model's document


def read_task_predictions(
    head: FileHead, options: ReadOptions
) -> Iterator[tuple[Document, Prediction]]:
    """Read the last prediction of each task, and the document of each text without spans."""
    for number, task in enumerate(stream_tasks(head), start=1):
        fields = task if isinstance(task, dict) else {}
        name = name_task(fields, number)
        where = f"{head.path}, task {name}"
        predictions = fields.get("predictions")
        if not is_list_of_objects(predictions) or not predictions:
            raise FormatError(
                f"{where} has no prediction with its regions, of which exports of projects have "
                "only ids: give a file that tagalong prelabel wrote",
                code="task-without-prediction",
            )
        for line in _task_to_lines(name, fields, predictions[-1], where, options.label_config):
            yield prediction_from_json(line, where)


def _task_to_lines(
    name: str,
    task: Mapping[str, Any],
    prediction: Mapping[str, Any],
    where: str,
    config: LabelConfig | None,
) -> Iterator[dict[str, Any]]:
    # The object of a line of JSON lines for each text, which `prediction_from_json` reads.
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
        yield stated | _predicted_line(name, task, ours or spans, where, config)
        return
    for text in config.texts:
        own = [item for item in ours if is_result_of(item, [text])]
        if own or has_text(task.get("data"), text):
            alone = replace(text, other_texts=())
            yield stated | _predicted_line(f"{name}@{text.object}", task, own, where, alone)


def _predicted_line(
    name: str,
    task: Mapping[str, Any],
    spans: Sequence[Mapping[str, Any]],
    where: str,
    config: LabelConfig | None,
) -> dict[str, Any]:
    hint = find_only_object(spans, where)
    entities = [
        {"start": region.start, "end": region.end, "label": label, "text": region.text}
        | {"score": item.get("score")}
        for item in spans
        for region in [raw_span_from_value(item["value"], where)]
        for label in region.labels
    ]
    text = _read_predicted_text(task, where, config, hint)
    return {"id": name, "text": text, "entities": entities}


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
