"""Requests for predictions: their limits, their parsing, and errors that refuse a request."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from itertools import accumulate
from typing import Any

from tagalong.backend.storage.project_key import ProjectKey
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.errors import TagalongError

JSON_TYPE_NAMES = {
    dict: "an object",
    list: "an array",
    str: "a text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "missing",
}

RETRY_AFTER_SECONDS = 2  # sent with status 503


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one request. The server refuses more, with a reason, before it starts any work."""

    max_body_bytes: int = 64 * 2**20  # of a request for predictions
    max_event_bytes: int = 8 * 2**20  # of a webhook event
    max_total_body_bytes: int = 512 * 2**20  # of all requests at once, as JSON and parsed
    max_values: int = 2_000_000  # in the JSON of a body, without keys
    max_tasks: int = 1_000
    max_text_characters: int = 500_000  # a longer task gets an empty result, and is counted
    max_concurrent_requests: int = 24  # in work or waiting
    model_load_timeout_seconds: float = 90.0  # how long a request waits for the first load
    read_timeout_seconds: float = 50.0  # to fetch the texts of a request, if its tasks hold URLs
    # Work that a tagger accepts: the 100 s that Label Studio waits, less reading and answering.
    predict_budget_seconds: float = 80.0


class RequestError(TagalongError):
    """A refused request, and the HTTP status of the answer; quotes no text of a document."""

    def __init__(
        self,
        status: HTTPStatus,
        message: str,
        *,
        code: str | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.status, self.retry_after_seconds = status, retry_after_seconds


unprocessable_request = partial(RequestError, HTTPStatus.UNPROCESSABLE_ENTITY)  # 422
request_too_large = partial(RequestError, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)  # 413
service_unavailable = partial(RequestError, HTTPStatus.SERVICE_UNAVAILABLE)  # 503


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """A request of Label Studio."""

    tasks: tuple[Mapping[str, Any], ...]  # each with its ``data``
    label_config: str  # XML
    project: ProjectKey | None = None  # None if the request names none
    context: Mapping[str, Any] | None = None  # the annotator's regions, in an interactive call

    @property
    def is_interactive(self) -> bool:
        """Whether the editor asks, after an action of the annotator: always for one task."""
        has_regions = self.context is not None and isinstance(self.context.get("result"), list)
        return has_regions and len(self.tasks) == 1


def parse_predict_request(body: Mapping[str, Any], limits: Limits) -> PredictRequest:
    """Check the JSON of a request; raises `RequestError` if it breaks the protocol or a limit."""
    tasks, xml, params = body.get("tasks"), body.get("label_config"), body.get("params")
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        kind = JSON_TYPE_NAMES[type(tasks)]
        message = f"tasks is {kind}: send an array of tasks, each an object"
        raise unprocessable_request(message, code="tasks-not-array")
    if len(tasks) > limits.max_tasks:
        raise request_too_large(
            f"the request has {pluralize(len(tasks), 'task')}, and at most {limits.max_tasks} "
            "are allowed, "
            "because Label Studio gives up after 100 seconds: select fewer",
            code="too-many-tasks",
        )
    if not isinstance(xml, str):
        message = (
            f"label_config is {JSON_TYPE_NAMES[type(xml)]}: send the project's labelling config"
        )
        raise unprocessable_request(message, code="label-config-not-text")
    context = params.get("context") if isinstance(params, dict) else None
    return PredictRequest(
        tasks=tuple(tasks),
        label_config=xml,
        project=ProjectKey.parse(body.get("project")),
        context=context if isinstance(context, dict) else None,
    )


def parse_control_name(extra_params: object) -> str | None:
    """The ``<Labels>`` to use if a config has several, from the ML backend's extra params."""
    control = extra_params.get("control") if isinstance(extra_params, Mapping) else None
    return control if isinstance(control, str) else None


def check_client(has_client_gone: Callable[[], bool]) -> None:
    """Stop a request whose client has gone; raises `RequestError`, which nobody reads."""
    if has_client_gone():
        raise service_unavailable("the client has gone", code="client-gone")


def check_latency_budget(
    seconds: Sequence[float], backlog_seconds: float, *, max_seconds: float
) -> None:
    """Refuse a request that takes longer than the time left; raises `RequestError`.

    `seconds` has an estimate for each task, `backlog_seconds` is one for the requests before.
    """
    ends = list(accumulate(seconds))
    if not ends or backlog_seconds + ends[-1] <= max_seconds:
        return
    fitting = sum(end <= max_seconds for end in ends)
    if fitting == len(ends):
        raise service_unavailable(
            f"the model has about {backlog_seconds:.0f} seconds of work before this request: try "
            "again then, or label the tasks with `tagalong prelabel`",
            code="model-busy",
        )
    these = "task takes" if len(ends) == 1 else f"{len(ends)} tasks take"
    instead = f"select at most {fitting} at once, or label" if fitting else "label"
    raise request_too_large(
        f"the {these} the model about {ends[-1]:.0f} seconds, and Label Studio gives up after 100: "
        f"{instead} them with `tagalong prelabel`, which has no time limit",
        code="model-too-slow",
    )
