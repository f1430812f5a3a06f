"""Our predictions for those who run label-studio-ml themselves, its 1.0.9 from PyPI or its 2.x.

Give the class to the framework as any model of one's own, with the folder of model versions in
``TAGALONG_MODELS`` and, where tasks hold URLs, the hosts they may point to in
``TAGALONG_ALLOWED_HOSTS``, separated by commas, with ``LABEL_STUDIO_URL`` and
``LABEL_STUDIO_API_KEY`` for what lies in Label Studio itself::

    from tagalong.backend.label_studio_ml import Tagalong
    from label_studio_ml.api import init_app

    app = init_app(model_class=Tagalong, model_dir="jobs")  # 2.x takes no model_dir

What the framework does around it is not ours to mend. 1.0.9 hands `Tagalong.predict` no labelling
config but that of the last ``/setup``, whichever project that was for, and asks nothing before the
first one; it starts a process for every webhook event, and keeps the event, document texts
included, in a file under its model_dir. 2.x passes on only single annotations and the train button.
`tagalong.backend.server` has none of these limits.
"""

import json
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tagalong.backend.events.payload import parse_event
from tagalong.backend.server.prediction.handler import parse_control_name, parse_predict_request
from tagalong.backend.server.service import Service
from tagalong.backend.server.settings import Settings
from tagalong.ner.errors import TagalongError
from tagalong.ner.model_registry import DEFAULT_TIER

try:
    from label_studio_ml.model import LabelStudioMLBase
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"tagalong.backend.label_studio_ml runs inside label-studio-ml, but {error.name} is not "
        "installed: install label-studio-ml and its dependencies, or run `tagalong serve`, which "
        "needs neither",
        name=error.name,
    ) from error

TIER = DEFAULT_TIER


class _ServicePerProcess:
    """The one service of a process; the framework makes a model object for every request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._services: dict[int, Service] = {}
        self._started: set[int] = set()

    def service(self, *, with_weights: bool = False) -> Service:
        """The service of this very process: threads and connections do not outlive a fork.

        Args:
            with_weights: Whether it is to load weights, which a process for one event never needs.

        Returns:
            The same one every time.
        """
        process = os.getpid()
        with self._lock:
            service = self._services.get(process)
            if service is None:
                service = self._services[process] = Service(_read_settings())
            if with_weights and process not in self._started:
                service.start()
                self._started.add(process)
        return service


def _read_settings() -> Settings:
    """What the environment says, since the framework makes our objects and not the user."""
    hosts = os.environ.get("TAGALONG_ALLOWED_HOSTS", "").split(",")
    return Settings(
        models=Path(os.environ.get("TAGALONG_MODELS", "models")),
        allowed_hosts=frozenset(host.strip() for host in hosts if host.strip()),
        label_studio_url=os.environ.get("LABEL_STUDIO_URL") or None,
        label_studio_key=os.environ.get("LABEL_STUDIO_API_KEY") or None,
    )


_service_per_process = _ServicePerProcess()


class Tagalong(LabelStudioMLBase):
    """The encoder tier as the framework wants a model.

    All objects of a process share one loaded version, which is loaded by the first prediction and
    replaced when another one is promoted.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # 1.0.9 passes the result of its last job, and reads the version that /setup answers from
        # it afterwards: without a word from us that would be the time of the last annotation, and
        # Label Studio would ask for everything again whenever that changes.
        self._framework_knows_version = False
        super().__init__(*args, **kwargs)
        job = kwargs.get("train_output")
        if job:
            job["job_id"] = _service_per_process.service().model_holders[TIER].serving_version()
            self._framework_knows_version = True

    def setup(self) -> None:
        """Tell 2.x the version, whose weights need not be loaded for that."""
        self._framework_knows_version = True
        with suppress(TagalongError):  # `predict` will say it; events are recorded all the same
            version = _service_per_process.service().model_holders[TIER].serving_version()
            if self.get("model_version") != version:
                self.set("model_version", version)

    def set_extra_params(self, extra_params: object) -> None:
        """Keep the ML backend's extra params, which 2.x can only store as text.

        Args:
            extra_params: As Label Studio sends them, an object or its JSON.
        """
        is_text = isinstance(extra_params, str)
        super().set_extra_params(extra_params if is_text else json.dumps(extra_params))

    def predict(
        self,
        tasks: Sequence[Mapping[str, Any]],
        context: Mapping[str, Any] | None = None,
        **kwargs: Any,  # noqa: ARG002 - login and password of the data, which we never fetch with
    ) -> list[dict[str, Any]]:
        """Find the entities of tasks.

        Args:
            tasks: As Label Studio sends them.
            context: What the annotator has drawn, in an interactive call.
            **kwargs: Not used.

        Returns:
            One result per task, in the same order. Its ``model_version`` is left out where the
            framework answers ``/setup`` with a version of its own, as 1.0.9 does until it has seen
            an event: Label Studio then takes that one, and does not ask again for what it has.

        Raises:
            TagalongError: If no version serves, or the labelling config cannot be used.
        """
        service = _service_per_process.service(with_weights=True)
        body = {
            "tasks": list(tasks),
            "label_config": self.label_config,
            "project": getattr(self, "project_id", ""),
            "params": {"context": context},
        }
        request = parse_predict_request(body, service.settings.limits)
        control_name = parse_control_name(getattr(self, "extra_params", None))
        results = service.predict_handler.handle(
            request, service.model_holders[TIER], control_name=control_name
        )
        if self._framework_knows_version:
            return results
        return [_without_version(result) for result in results]

    def process_event(
        self, event: str, data: Mapping[str, Any], job_id: str, additional_params: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Take on an event in 1.0.9, which calls this in a process of its own.

        Args:
            event: What happened.
            data: The rest of the webhook's body.
            job_id: What the framework calls the event.
            additional_params: Not used.

        Returns:
            What `fit` returns. Whatever the event: the framework looks through all events since
            the last one that returned something, at every ``/setup``.

        Raises:
            StateFileError: If the event cannot be recorded.
        """
        return self.fit(event, data, job_id=job_id, **additional_params)

    def fit(self, event: str, data: Mapping[str, Any], **kwargs: Any) -> dict[str, Any]:  # noqa: ARG002
        """Record an event for good, and return at once; training is another process's work.

        Args:
            event: What happened, as Label Studio calls it.
            data: The rest of the webhook's body.
            **kwargs: Not used.

        Returns:
            The number of the record; None for an event that Label Studio does not have, or that was
            recorded before.

        Raises:
            StateFileError: If it cannot be recorded.
        """
        parsed = parse_event({**data, "action": event})
        return {
            "recorded": None
            if parsed is None
            else _service_per_process.service().event_store.write_event(parsed)
        }


def _without_version(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result, for Label Studio to say which version it is of."""
    return {key: value for key, value in result.items() if key != "model_version"}
