"""A `/predict` request to Label Studio's results: one per task, in order, empty ones included."""

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
from tagalong.backend.server.prediction.errors import (
    request_too_large,
    service_unavailable,
    unprocessable_request,
)
from tagalong.backend.server.prediction.limits import Limits
from tagalong.backend.server.prediction.model_holder import ModelHolder
from tagalong.backend.server.prediction.seen_regions import SeenRegions
from tagalong.ner.document import Document, DroppedAnnotation, Prediction
from tagalong.ner.errors import FormatError, InputError

MODEL_SUGGESTIONS_ID = (
    "the model's own"  # remembered of a task once interactive calls have brought them
)
READ_TIMEOUT_MESSAGE = (
    "the texts of the tasks before it took {:.0f} seconds to fetch, and Label Studio waits for "
    "100: select fewer tasks, or import the plain texts"
)


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """What Label Studio asks.

    Attributes:
        tasks: Each with its ``data``.
        label_config: The project's labelling config.
        project: Its id; empty where the request does not say.
        context: What the annotator has drawn, in an interactive call.
    """

    tasks: tuple[Mapping[str, Any], ...]
    label_config: str
    project: str = ""
    context: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class PredictResponse:
    """What Label Studio is told, and what the page tells of it.

    Attributes:
        results: One per task, in order.
        stats: What became of the request.
    """

    results: list[dict[str, Any]]
    stats: RequestStats


def parse_predict_request(body: object, limits: Limits) -> PredictRequest:
    """Check the shape of a request.

    Args:
        body: As the JSON parser gives it.
        limits: The number of tasks is checked here.

    Returns:
        The request.

    Raises:
        Refusal: If it is not one of the protocol, or asks for too much.
    """
    if not isinstance(body, dict):
        raise unprocessable_request(
            f"the body is {_json_type_name(body)}: send an object with tasks and label_config"
        )
    tasks, xml, params = body.get("tasks"), body.get("label_config"), body.get("params")
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise unprocessable_request(
            f"tasks is {_json_type_name(tasks)}: send an array of tasks, each an object"
        )
    if len(tasks) > limits.max_tasks:
        raise request_too_large(
            f"{len(tasks)} tasks came in one request, and at most {limits.max_tasks} are taken on, "
            "because Label Studio gives up after 100 seconds: select fewer"
        )
    if not isinstance(xml, str):
        raise unprocessable_request(
            f"label_config is {_json_type_name(xml)}: send the project's labelling config"
        )
    context = params.get("context") if isinstance(params, dict) else None
    return PredictRequest(
        tasks=tuple(tasks),
        label_config=xml,
        project=parse_project_id(body.get("project")),
        context=context if isinstance(context, dict) else None,
    )


def parse_project_id(value: object) -> str:
    """Read a project's id: ``"7.1795354311"`` (with the time it was made), 7, or an object.

    Args:
        value: Whatever was sent.

    Returns:
        The id as text; empty where there is none.
    """
    if isinstance(value, dict):
        value = value.get("id")
    first = str(value).partition(".")[0] if isinstance(value, str | int) else ""
    return first if first.isascii() and first.isdigit() and len(first) <= 20 else ""


def _json_type_name(value: object) -> str:
    """What JSON calls a value, for messages: never the value itself."""
    kinds = {dict: "an object", list: "an array", str: "a text", bool: "true or false"}
    kinds |= {int: "a number", float: "a number", type(None): "missing"}
    return kinds[type(value)]


def read_label_config(xml: str, control_name: object = None) -> LabelConfig:
    """Read a project's labelling config.

    Args:
        xml: The config.
        control_name: Name of the ``<Labels>`` to use, from the ML backend's extra params.

    Returns:
        The config.

    Raises:
        Refusal: If entities of a text cannot be marked with it; says why.
    """
    try:
        return parse_label_config(
            xml, control=control_name if isinstance(control_name, str) else None
        )
    except FormatError as error:
        raise unprocessable_request(str(error)) from error


class PredictHandler:
    """Answers requests with what a tier says.

    Args:
        texts: Reads the tasks.
        limits: The length of texts is checked here.
    """

    def __init__(self, texts: TaskTextReader, limits: Limits) -> None:
        self._texts, self._limits = texts, limits
        self._seen_regions = SeenRegions()

    def handle(
        self, request: PredictRequest, model_holder: ModelHolder, *, control_name: object = None
    ) -> PredictResponse:
        """Answer a request.

        Args:
            request: What was asked.
            model_holder: Whose version answers.
            control_name: Name of the ``<Labels>`` to use, where the config has several.

        Returns:
            The answer.

        Raises:
            Refusal: If the config cannot be used, or none of the tasks could be read.
            TagalongError: If no version serves.
        """
        began = time.monotonic()
        config = read_label_config(request.label_config, control_name)
        tier = model_holder.wait_for_tier(timeout_seconds=self._limits.model_load_timeout_seconds)
        label_map = map_labels(tier.labels, config)
        documents, unread = self._read_documents(request.tasks, config)
        if unread and len(unread) == len(documents):
            raise unprocessable_request(unread[0].message)
        readable = [document for document in documents if document is not None]
        left = max(0.0, self._limits.predict_budget_seconds - (time.monotonic() - began))
        found = iter(
            model_holder.scheduler.predict(
                tier, readable, check_admission=partial(check_latency_budget, max_seconds=left)
            )
        )
        results: list[dict[str, Any]] = []
        lost: list[DroppedAnnotation] = []
        for task, document in zip(request.tasks, documents, strict=True):
            known = document or Document(str(task.get("id", "")), "")
            prediction = next(found) if document else Prediction((), 1.0, tier.version)
            prediction = label_map.apply(known, prediction)
            lost += prediction.dropped
            if _is_interactive(request):
                prediction = self._suggest_regions(known, prediction, task, request, config)
                known = with_unique_region_ids(known, request.context)
            results.append(prediction_to_label_studio(known, prediction, config))
        outcome = RequestStats(
            tasks=len(results),
            regions=sum(len(result["result"]) for result in results),
            labels={label: label_map.project_labels.get(label) for label in tier.labels},
            dropped_annotations=lost,
            unreadable_tasks=unread,
        )
        return PredictResponse(results, outcome)

    def _read_documents(
        self, tasks: Sequence[Mapping[str, Any]], config: LabelConfig
    ) -> tuple[list[Document | None], list[UnreadableTask]]:
        """The document of every task, None for one that cannot be read, and why not."""
        documents: list[Document | None] = []
        unread = []
        deadline = time.monotonic() + self._limits.read_timeout_seconds
        for task in tasks:
            if time.monotonic() > deadline:
                documents.append(None)
                unread.append(
                    UnreadableTask(
                        "took too long",
                        READ_TIMEOUT_MESSAGE.format(self._limits.read_timeout_seconds),
                    )
                )
                continue
            try:
                document = self._texts.read_document(task, config)
            except InputError as error:
                documents.append(None)
                unread.append(UnreadableTask("no text", str(error)))
                continue
            length, most = len(document.text), self._limits.max_text_characters
            documents.append(document if length <= most else None)
            if length > most:
                sentence = (
                    f"task {document.id} has a text of {length:,} characters, and at most {most:,} "
                    "are read while somebody waits: split it into documents"
                )
                unread.append(UnreadableTask("too long", sentence))
        return documents, unread

    def _suggest_regions(
        self,
        document: Document,
        prediction: Prediction,
        task: Mapping[str, Any],
        request: PredictRequest,
        config: LabelConfig,
    ) -> Prediction:
        """What to add to what the annotator drew: nothing where nothing was drawn just now."""
        came_before = partial(self._seen_regions.mark_seen, f"{request.project}\0{document.id}")
        marked = read_interactive_context(
            task, request.context, config, document, seen_regions=came_before
        )
        if not marked.new_spans:
            return replace(prediction, spans=())
        # What was there to take or leave is not brought again: it may have been deleted since.
        offered = task.get("predictions") or came_before([MODEL_SUGGESTIONS_ID])
        predicted = () if offered else prediction.spans
        return replace(prediction, spans=suggest_spans(document, predicted, marked))


def check_latency_budget(
    seconds: Sequence[float], backlog_seconds: float, *, max_seconds: float
) -> None:
    """Refuse what Label Studio would not wait for, before any of it is done.

    Args:
        seconds: What each task will take, as estimated.
        backlog_seconds: Seconds of work that other requests have asked for already.
        max_seconds: Seconds that may pass.

    Raises:
        Refusal: If it takes longer.
    """
    ends = list(accumulate(seconds))
    if not ends or backlog_seconds + ends[-1] <= max_seconds:
        return
    fitting = sum(end <= max_seconds for end in ends)
    if fitting == len(ends):
        raise service_unavailable(
            f"the LLM has about {backlog_seconds:.0f} seconds of work before this request: try again then, "
            "or label the tasks with `tagalong prelabel`"
        )
    these = "task takes" if len(ends) == 1 else f"{len(ends)} tasks take"
    instead = f"select at most {fitting} at once, or label" if fitting else "label"
    raise request_too_large(
        f"the {these} the LLM about {ends[-1]:.0f} seconds, and Label Studio gives up after 100: "
        f"{instead} them with `tagalong prelabel`, which takes its time"
    )


def _is_interactive(request: PredictRequest) -> bool:
    """Whether the editor asks, because an annotator did something."""
    return request.context is not None and isinstance(request.context.get("result"), list)
