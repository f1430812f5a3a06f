"""Answers `/predict` requests: one Label Studio result per task, in order, empty ones included."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import Any

from tagalong.backend.label_studio.config import parse_label_config
from tagalong.backend.label_studio.context import read_interactive_context, with_unique_region_ids
from tagalong.backend.label_studio.interactive import suggest_spans
from tagalong.backend.label_studio.label_map import map_labels
from tagalong.backend.label_studio.results import LabelConfig, prediction_to_label_studio
from tagalong.backend.label_studio.task_text import TaskTextReader
from tagalong.backend.server.monitoring.snapshot import RequestStats, UnreadableTask
from tagalong.backend.server.monitoring.telemetry import Telemetry
from tagalong.backend.server.prediction.errors import (
    request_too_large,
    service_unavailable,
    unprocessable_request,
)
from tagalong.backend.server.prediction.limits import Limits
from tagalong.backend.server.prediction.model_holder import ModelHolder
from tagalong.backend.server.prediction.seen_regions import SeenRegions
from tagalong.ner.document import Document, DroppedAnnotation, Prediction
from tagalong.ner.errors import InputError

MODEL_SUGGESTIONS_ID = "the model's own"  # marks a task whose first call got all predictions
READ_TIMEOUT_MESSAGE = (
    "fetching the texts of earlier tasks took {:.0f} seconds, and Label Studio waits for 100: "
    "select fewer tasks, or import the plain texts"
)
JSON_TYPE_NAMES = {
    dict: "an object",
    list: "an array",
    str: "a text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "missing",
}


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """A request of Label Studio.

    Attributes:
        tasks: Each with its ``data``.
        label_config: The project's labelling config, as XML.
        project: Its id; empty if the request has none.
        context: Regions drawn by the annotator, in an interactive call.
    """

    tasks: tuple[Mapping[str, Any], ...]
    label_config: str
    project: str = ""
    context: Mapping[str, Any] | None = None

    @property
    def is_interactive(self) -> bool:
        """Whether the editor asks, after an action of the annotator."""
        return self.context is not None and isinstance(self.context.get("result"), list)


def parse_predict_request(body: Mapping[str, Any], limits: Limits) -> PredictRequest:
    """Check the shape of a request, and its number of tasks.

    Args:
        body: The parsed JSON.
        limits: For the number of tasks.

    Raises:
        RequestError: If the request does not follow the protocol, or has too many tasks.
    """
    tasks, xml, params = body.get("tasks"), body.get("label_config"), body.get("params")
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise unprocessable_request(
            f"tasks is {JSON_TYPE_NAMES[type(tasks)]}: send an array of tasks, each an object",
            code="tasks-not-array",
        )
    if len(tasks) > limits.max_tasks:
        raise request_too_large(
            f"the request has {len(tasks)} tasks, and at most {limits.max_tasks} are allowed, "
            "because Label Studio gives up after 100 seconds: select fewer",
            code="too-many-tasks",
        )
    if not isinstance(xml, str):
        raise unprocessable_request(
            f"label_config is {JSON_TYPE_NAMES[type(xml)]}: send the project's labelling config",
            code="label-config-not-text",
        )
    context = params.get("context") if isinstance(params, dict) else None
    return PredictRequest(
        tasks=tuple(tasks),
        label_config=xml,
        project=parse_project_id(body.get("project")),
        context=context if isinstance(context, dict) else None,
    )


def parse_project_id(value: object) -> str:
    """Parse a project id: ``"7.1795354311"`` (with its creation time), 7, or an object.

    Returns:
        The id as text; empty if there is none.
    """
    if isinstance(value, dict):
        value = value.get("id")
    first = str(value).partition(".")[0] if isinstance(value, str | int) else ""
    return first if first.isascii() and first.isdigit() and len(first) <= 20 else ""


def parse_control_name(extra_params: object) -> str | None:
    """The ``<Labels>`` to use if a config has several, from the ML backend's extra params."""
    control = extra_params.get("control") if isinstance(extra_params, Mapping) else None
    return control if isinstance(control, str) else None


class PredictHandler:
    """Answers requests with the predictions of a tier.

    Args:
        texts: Reads the texts of tasks.
        limits: For the length of texts and the time to answer.
        telemetry: Counts what was answered.
    """

    def __init__(self, texts: TaskTextReader, limits: Limits, telemetry: Telemetry) -> None:
        self._texts, self._limits, self._telemetry = texts, limits, telemetry
        self._seen_regions = SeenRegions()

    def handle(
        self, request: PredictRequest, model_holder: ModelHolder, *, control_name: str | None
    ) -> list[dict[str, Any]]:
        """Answer a request.

        Args:
            request: The request.
            model_holder: The tier to ask.
            control_name: Name of the ``<Labels>`` to use, if the config has several.

        Returns:
            One result per task, in order.

        Raises:
            RequestError: If no task has a usable text, or the answer would take too long.
            TagalongError: If the labelling config cannot be used, or no version is served.
        """
        start = time.monotonic()
        config = parse_label_config(request.label_config, control=control_name)
        tier = model_holder.wait_for_tier(timeout_seconds=self._limits.model_load_timeout_seconds)
        label_map = map_labels(tier.labels, config)
        documents, unreadable = self._read_documents(request.tasks, config)
        if unreadable and len(unreadable) == len(documents):
            raise unprocessable_request(unreadable[0].message, code="no-readable-task")
        seconds_left = self._limits.predict_budget_seconds - (time.monotonic() - start)
        check_admission = partial(check_latency_budget, max_seconds=max(0.0, seconds_left))
        readable = [document for document in documents if document is not None]
        predictions = iter(
            model_holder.scheduler.predict(tier, readable, check_admission=check_admission)
        )
        results: list[dict[str, Any]] = []
        dropped: list[DroppedAnnotation] = []
        for task, document in zip(request.tasks, documents, strict=True):
            shown = document or Document(str(task.get("id", "")), "")
            prediction = next(predictions) if document else Prediction((), 1.0, tier.version)
            prediction = label_map.apply(shown, prediction)
            dropped += prediction.dropped
            if request.is_interactive:
                prediction = self._suggest_regions(shown, prediction, task, request, config)
                shown = with_unique_region_ids(shown, request.context)
            results.append(prediction_to_label_studio(shown, prediction, config))
        stats = RequestStats(
            tasks=len(results),
            regions=sum(len(result["result"]) for result in results),
            labels={label: label_map.project_labels.get(label) for label in tier.labels},
            dropped_annotations=dropped,
            unreadable_tasks=unreadable,
        )
        self._telemetry.record_predictions(request.project, model_holder.name, stats)
        return results

    def _read_documents(
        self, tasks: Sequence[Mapping[str, Any]], config: LabelConfig
    ) -> tuple[list[Document | None], list[UnreadableTask]]:
        """The document of every task, None for an unreadable one, and all unreadable ones."""
        documents: list[Document | None] = []
        unreadable: list[UnreadableTask] = []
        deadline = time.monotonic() + self._limits.read_timeout_seconds
        for task in tasks:
            document = self._read_document(task, config, deadline=deadline)
            if isinstance(document, UnreadableTask):
                unreadable.append(document)
                documents.append(None)
            else:
                documents.append(document)
        return documents, unreadable

    def _read_document(
        self, task: Mapping[str, Any], config: LabelConfig, *, deadline: float
    ) -> Document | UnreadableTask:
        if time.monotonic() > deadline:
            message = READ_TIMEOUT_MESSAGE.format(self._limits.read_timeout_seconds)
            return UnreadableTask("took too long", message)
        try:
            document = self._texts.read_document(task, config)
        except InputError as error:
            return UnreadableTask("no text", str(error))
        length, max_length = len(document.text), self._limits.max_text_characters
        if length <= max_length:
            return document
        return UnreadableTask(
            "too long",
            f"task {document.id} has a text of {length:,} characters, and at most {max_length:,} "
            "are allowed in an interactive request: split it into documents",
        )

    def _suggest_regions(
        self,
        document: Document,
        prediction: Prediction,
        task: Mapping[str, Any],
        request: PredictRequest,
        config: LabelConfig,
    ) -> Prediction:
        """Suggestions after the annotator drew a region; none after any other action."""
        mark_seen = partial(self._seen_regions.mark_seen, f"{request.project}\0{document.id}")
        context = read_interactive_context(
            task, request.context, config, document, seen_regions=mark_seen
        )
        if not context.new_spans:
            return replace(prediction, spans=())
        # Predictions offered before are not repeated: the annotator may have deleted them.
        offered = task.get("predictions") or mark_seen([MODEL_SUGGESTIONS_ID])
        predicted = () if offered else prediction.spans
        return replace(prediction, spans=suggest_spans(document, predicted, context))


def check_latency_budget(
    seconds: Sequence[float], backlog_seconds: float, *, max_seconds: float
) -> None:
    """Refuse a request that takes longer than Label Studio waits.

    Args:
        seconds: Estimate for each task.
        backlog_seconds: Estimate for the requests before this one.
        max_seconds: The time left.

    Raises:
        RequestError: If the request takes longer.
    """
    ends = list(accumulate(seconds))
    if not ends or backlog_seconds + ends[-1] <= max_seconds:
        return
    fitting = sum(end <= max_seconds for end in ends)
    if fitting == len(ends):
        raise service_unavailable(
            f"the LLM has about {backlog_seconds:.0f} seconds of work before this request: try "
            "again then, or label the tasks with `tagalong prelabel`",
            code="llm-busy",
        )
    these = "task takes" if len(ends) == 1 else f"{len(ends)} tasks take"
    instead = f"select at most {fitting} at once, or label" if fitting else "label"
    raise request_too_large(
        f"the {these} the LLM about {ends[-1]:.0f} seconds, and Label Studio gives up after 100: "
        f"{instead} them with `tagalong prelabel`, which has no time limit",
        code="llm-too-slow",
    )
