"""A `/predict` request to Label Studio's results: one per task, in order, empty ones included."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import Any

from backend.interactive import complete
from backend.label_config import parse_label_config
from backend.label_map import map_labels
from backend.label_studio import LabelConfig, prediction_to_item
from backend.marked import marked_regions, set_apart
from backend.server.answered import Answered
from backend.server.errors import malformed, too_much, unavailable
from backend.server.settings import Limits
from backend.server.slot import TierSlot
from backend.server.snapshot import Outcome, Unread
from backend.task_text import TaskTexts
from ner.document import Document, Lost, Prediction
from ner.errors import FormatError, InputError

OFFERED = "the model's own"  # remembered of a task once interactive calls have brought them
LATE = (
    "the texts of the tasks before it took {:.0f} seconds to fetch, and Label Studio waits for "
    "100: select fewer tasks, or import the plain texts"
)


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """What Label Studio asks.

    Attributes:
        tasks: Each with its ``data``.
        xml: The project's labelling config.
        project: Its id; empty where the request does not say.
        context: What the annotator has drawn, in an interactive call.
    """

    tasks: tuple[Mapping[str, Any], ...]
    xml: str
    project: str = ""
    context: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What Label Studio is told, and what the page tells of it.

    Attributes:
        results: One per task, in order.
        outcome: What became of the request.
    """

    results: list[dict[str, Any]]
    outcome: Outcome


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
        raise malformed(f"the body is {_kind(body)}: send an object with tasks and label_config")
    tasks, xml, params = body.get("tasks"), body.get("label_config"), body.get("params")
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise malformed(f"tasks is {_kind(tasks)}: send an array of tasks, each an object")
    if len(tasks) > limits.tasks:
        raise too_much(
            f"{len(tasks)} tasks came in one request, and at most {limits.tasks} are taken on, "
            "because Label Studio gives up after 100 seconds: select fewer"
        )
    if not isinstance(xml, str):
        raise malformed(f"label_config is {_kind(xml)}: send the project's labelling config")
    context = params.get("context") if isinstance(params, dict) else None
    return PredictRequest(
        tasks=tuple(tasks),
        xml=xml,
        project=project_id(body.get("project")),
        context=context if isinstance(context, dict) else None,
    )


def project_id(value: object) -> str:
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


def _kind(value: object) -> str:
    """What JSON calls a value, for messages: never the value itself."""
    kinds = {dict: "an object", list: "an array", str: "a text", bool: "true or false"}
    kinds |= {int: "a number", float: "a number", type(None): "missing"}
    return kinds[type(value)]


def read_config(xml: str, control: object = None) -> LabelConfig:
    """Read a project's labelling config.

    Args:
        xml: The config.
        control: Name of the ``<Labels>`` to use, from the ML backend's extra params.

    Returns:
        The config.

    Raises:
        Refusal: If entities of a text cannot be marked with it; says why.
    """
    try:
        return parse_label_config(xml, control=control if isinstance(control, str) else None)
    except FormatError as error:
        raise malformed(str(error)) from error


class Predictor:
    """Answers requests with what a tier says.

    Args:
        texts: Reads the tasks.
        limits: The length of texts is checked here.
    """

    def __init__(self, texts: TaskTexts, limits: Limits) -> None:
        self._texts, self._limits = texts, limits
        self._answered = Answered()

    def answer(self, request: PredictRequest, slot: TierSlot, *, control: object = None) -> Answer:
        """Answer a request.

        Args:
            request: What was asked.
            slot: Whose version answers.
            control: Name of the ``<Labels>`` to use, where the config has several.

        Returns:
            The answer.

        Raises:
            Refusal: If the config cannot be used, or none of the tasks could be read.
            TagalongError: If no version serves.
        """
        began = time.monotonic()
        config = read_config(request.xml, control)
        tier = slot.tier(wait=self._limits.wait)
        label_map = map_labels(tier.labels, config)
        documents, unread = self._read(request.tasks, config)
        if unread and len(unread) == len(documents):
            raise malformed(unread[0].sentence)
        readable = [document for document in documents if document is not None]
        left = max(0.0, self._limits.predicting - (time.monotonic() - began))
        found = iter(slot.turns.predict(tier, readable, admit=partial(check_time, most=left)))
        results: list[dict[str, Any]] = []
        lost: list[Lost] = []
        for task, document in zip(request.tasks, documents, strict=True):
            known = document or Document(str(task.get("id", "")), "")
            prediction = next(found) if document else Prediction((), 1.0, tier.version)
            prediction = label_map.apply(known, prediction)
            lost += prediction.lost
            if _is_interactive(request):
                prediction = self._completing(known, prediction, task, request, config)
                known = set_apart(known, request.context)
            results.append(prediction_to_item(known, prediction, config))
        outcome = Outcome(
            tasks=len(results),
            regions=sum(len(result["result"]) for result in results),
            labels={label: label_map.names.get(label) for label in tier.labels},
            lost=lost,
            unread=unread,
        )
        return Answer(results, outcome)

    def _read(
        self, tasks: Sequence[Mapping[str, Any]], config: LabelConfig
    ) -> tuple[list[Document | None], list[Unread]]:
        """The document of every task, None for one that cannot be read, and why not."""
        documents: list[Document | None] = []
        unread = []
        deadline = time.monotonic() + self._limits.reading
        for task in tasks:
            if time.monotonic() > deadline:
                documents.append(None)
                unread.append(Unread("took too long", LATE.format(self._limits.reading)))
                continue
            try:
                document = self._texts.document(task, config)
            except InputError as error:
                documents.append(None)
                unread.append(Unread("no text", str(error)))
                continue
            length, most = len(document.text), self._limits.characters
            documents.append(document if length <= most else None)
            if length > most:
                sentence = (
                    f"task {document.id} has a text of {length:,} characters, and at most {most:,} "
                    "are read while somebody waits: split it into documents"
                )
                unread.append(Unread("too long", sentence))
        return documents, unread

    def _completing(
        self,
        document: Document,
        prediction: Prediction,
        task: Mapping[str, Any],
        request: PredictRequest,
        config: LabelConfig,
    ) -> Prediction:
        """What to add to what the annotator drew: nothing where nothing was drawn just now."""
        came_before = partial(self._answered.came_before, f"{request.project}\0{document.id}")
        marked = marked_regions(task, request.context, config, document, came_before=came_before)
        if not marked.drawn:
            return replace(prediction, spans=())
        # What was there to take or leave is not brought again: it may have been deleted since.
        offered = task.get("predictions") or came_before([OFFERED])
        predicted = () if offered else prediction.spans
        return replace(prediction, spans=complete(document, predicted, marked))


def check_time(seconds: Sequence[float], owed: float, *, most: float) -> None:
    """Refuse what Label Studio would not wait for, before any of it is done.

    Args:
        seconds: What each task will take, as estimated.
        owed: Seconds of work that other requests have asked for already.
        most: Seconds that may pass.

    Raises:
        Refusal: If it takes longer.
    """
    ends = list(accumulate(seconds))
    if not ends or owed + ends[-1] <= most:
        return
    fitting = sum(end <= most for end in ends)
    if fitting == len(ends):
        raise unavailable(
            f"the LLM has about {owed:.0f} seconds of work before this request: try again then, "
            "or label the tasks with `tagalong prelabel`"
        )
    these = "task takes" if len(ends) == 1 else f"{len(ends)} tasks take"
    instead = f"select at most {fitting} at once, or label" if fitting else "label"
    raise too_much(
        f"the {these} the LLM about {ends[-1]:.0f} seconds, and Label Studio gives up after 100: "
        f"{instead} them with `tagalong prelabel`, which takes its time"
    )


def _is_interactive(request: PredictRequest) -> bool:
    """Whether the editor asks, because an annotator did something."""
    return request.context is not None and isinstance(request.context.get("result"), list)
