"""Comparison of the predictions that Label Studio stored with the texts of the tasks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tagalong.backend.label_studio.api.client import LabelStudioClient
from tagalong.backend.label_studio.api.objects import StoredPrediction, Task
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.label_config_parser import parse_label_config
from tagalong.backend.label_studio.results import SPAN_TYPE, find_value, is_place, span_value
from tagalong.ner.counted_nouns import pluralize


@dataclass(frozen=True, slots=True)
class DemoCheckReport:
    """Numbers of compared objects, and the deviations: phrases without any text of a task."""

    tasks: int
    predictions: int
    regions: int
    findings: tuple[str, ...]


def check_predictions(
    label_studio: LabelStudioClient, project: int, version: str
) -> DemoCheckReport:
    """Check every prediction of a version in a project."""
    config = parse_label_config(label_studio.get_project(project).label_config)
    tasks = list(label_studio.tasks.iterate_for_project(project))
    stored = label_studio.predictions.list_for_project(project)
    ours = [prediction for prediction in stored if prediction.model_version == version]
    findings = [
        f"task {task.id}: {deviation}"
        for task in tasks
        for deviation in check_task(task, [p for p in ours if p.task == task.id], config, version)
    ]
    regions = sum(len(prediction.result) for prediction in ours)
    if tasks and not regions:
        findings.append(f"not one entity was found by {version}")
    if not tasks:
        findings.append("there are no tasks")
    return DemoCheckReport(len(tasks), len(ours), regions, tuple(findings))


def check_task(
    task: Task, predictions: Sequence[StoredPrediction], config: LabelConfig, version: str
) -> Iterator[str]:
    """Check one task, and its predictions of the version."""
    if len(predictions) != 1:
        yield f"has {pluralize(len(predictions), 'prediction')} of {version}, not one"
    text = find_value(task.data, config.data_key)
    if not isinstance(text, str):
        yield f"has no text under {config.data_key!r}"
        return
    for prediction in predictions:
        if not _is_score(prediction.score) and not is_place(prediction.score):
            yield f"the score {prediction.score} is not in (0, 1]"
        ids = [region.get("id") for region in prediction.result]
        if len(set(ids)) < len(ids) or not all(ids):
            yield "regions without an id of their own"
        for number, region in enumerate(prediction.result, 1):
            for problem in check_region(region, text, config):
                yield f"region {number}: {problem}"


def check_region(region: Mapping[str, Any], text: str, config: LabelConfig) -> Iterator[str]:
    """Check one stored region against the text of its task; no phrase quotes the text."""
    if (region.get("from_name"), region.get("to_name")) != (config.control, config.object):
        yield "its names are not those of the project's control and text"
    if region.get("type") != SPAN_TYPE:
        yield f"its type is {region.get('type')!r}, not {SPAN_TYPE!r}"
    if not _is_score(region.get("score")):
        yield f"its score {region.get('score')} is not in (0, 1]"
    value = span_value(region)
    labels = value.get(SPAN_TYPE)
    if not isinstance(labels, list) or not labels or any(x not in config.labels for x in labels):
        yield f"its labels {labels} are not among the project's"
    start, end = value.get("start"), value.get("end")
    if not (isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= len(text)):
        yield f"its offsets {start} to {end} do not fit into {pluralize(len(text), 'character')}"
    elif value.get("text") != text[start:end]:
        yield f"its text is not the text from {start} to {end}"


def _is_score(score: object) -> bool:
    return isinstance(score, int | float) and not isinstance(score, bool) and 0 < score <= 1
