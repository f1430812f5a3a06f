"""Whether what Label Studio stored is what we predicted, to the character."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tagalong.backend.label_studio.api.client import LabelStudioClient
from tagalong.backend.label_studio.api.objects import StoredPrediction, Task
from tagalong.backend.label_studio.config import parse_label_config
from tagalong.backend.label_studio.results import LabelConfig, is_place


@dataclass(frozen=True, slots=True)
class DemoFinding:
    """Something that is not as it must be.

    Attributes:
        task: Where; None for the project as a whole.
        problem: What, without any text of the task.
    """

    task: int | None
    problem: str

    def __str__(self) -> str:
        return self.problem if self.task is None else f"task {self.task}: {self.problem}"


@dataclass(frozen=True, slots=True)
class DemoCheckReport:
    """What was looked at, and what was found wrong."""

    tasks: int
    predictions: int
    regions: int
    findings: tuple[DemoFinding, ...]


def check_predictions(
    label_studio: LabelStudioClient, project: int, version: str
) -> DemoCheckReport:
    """Look at every prediction of a version that a project holds.

    Args:
        label_studio: Where.
        project: Its id.
        version: What the backend's ``/setup`` answers.

    Returns:
        What was looked at, and every deviation.

    Raises:
        LabelStudioError: If Label Studio cannot be asked.
        InputError: If the project's config is none for spans of a text.
    """
    config = parse_label_config(label_studio.get_project(project).label_config)
    tasks = list(label_studio.tasks.iterate_for_project(project))
    stored = label_studio.predictions.list_for_project(project)
    ours = [prediction for prediction in stored if prediction.model_version == version]
    by_task = {task.id: [p for p in ours if p.task == task.id] for task in tasks}
    findings = [
        finding for task in tasks for finding in check_task(task, by_task[task.id], config, version)
    ]
    regions = sum(len(prediction.result) for prediction in ours)
    if tasks and not regions:
        findings.append(DemoFinding(None, f"not one entity was found by {version}"))
    if not tasks:
        findings.append(DemoFinding(None, "there are no tasks"))
    return DemoCheckReport(len(tasks), len(ours), regions, tuple(findings))


def check_task(
    task: Task, predictions: Sequence[StoredPrediction], config: LabelConfig, version: str
) -> Iterator[DemoFinding]:
    """Look at what is stored for one task.

    Args:
        task: With its text.
        predictions: Those of the version that belong to it.
        config: Of the project.
        version: Whose predictions they are.

    Yields:
        Every deviation.
    """
    if len(predictions) != 1:
        yield DemoFinding(task.id, f"has {len(predictions)} predictions of {version}, not one")
    text = task.data.get(config.data_key)
    if not isinstance(text, str):
        yield DemoFinding(task.id, f"has no text under {config.data_key!r}")
        return
    for prediction in predictions:
        if not _is_score(prediction.score) and not is_place(prediction.score):
            yield DemoFinding(task.id, f"the score {prediction.score} is not in (0, 1]")
        ids = [region.get("id") for region in prediction.result]
        if len(set(ids)) < len(ids) or not all(ids):
            yield DemoFinding(task.id, "regions without an id of their own")
        for number, region in enumerate(prediction.result, 1):
            for problem in check_region(region, text, config):
                yield DemoFinding(task.id, f"region {number}: {problem}")


def check_region(region: Mapping[str, Any], text: str, config: LabelConfig) -> Iterator[str]:
    """Look at one region.

    Args:
        region: As stored.
        text: Of its task.
        config: Of the project.

    Yields:
        Every deviation, without a word of the text.
    """
    if (region.get("from_name"), region.get("to_name")) != (config.control, config.object):
        yield "its names are not those of the project's control and text"
    if region.get("type") != "labels":
        yield f"its type is {region.get('type')!r}, not 'labels'"
    if not _is_score(region.get("score")):
        yield f"its score {region.get('score')} is not in (0, 1]"
    value = region.get("value")
    value = value if isinstance(value, Mapping) else {}
    labels = value.get("labels")
    if not isinstance(labels, list) or not labels or any(x not in config.labels for x in labels):
        yield f"its labels {labels} are not among the project's"
    start, end = value.get("start"), value.get("end")
    if not (isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= len(text)):
        yield f"its offsets {start} to {end} do not fit into {len(text)} characters"
    elif value.get("text") != text[start:end]:
        yield f"its text is not what is at {start} to {end}"


def _is_score(score: object) -> bool:
    """Whether it is a number in (0, 1]."""
    return isinstance(score, int | float) and not isinstance(score, bool) and 0 < score <= 1
