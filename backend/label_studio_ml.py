"""Our predictions for teams that run label-studio-ml, its 1.0.9 from PyPI or its 2.x.

Give the class to the framework as any model. Set ``TAGALONG_MODELS`` to the folder of model
versions. If tasks hold URLs, list their hosts in ``TAGALONG_ALLOWED_HOSTS``, separated by commas,
and set ``LABEL_STUDIO_URL`` and ``LABEL_STUDIO_API_KEY`` for texts in Label Studio itself::

    from tagalong.backend.label_studio_ml import Tagalong
    from label_studio_ml.api import init_app

    app = init_app(model_class=Tagalong, model_dir="jobs")  # 2.x takes no model_dir

The framework has limits that `tagalong.backend.server` does not have. 1.0.9 predicts with the
labelling config of the last ``/setup``, whichever project called it, and does not predict before
the first one. It starts a process for every webhook event, and stores the event, document texts
included, in a file under its model_dir. 2.x forwards only single annotations and the train button.
"""

import json
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tagalong.backend.label_studio.fetch import parse_hosts
from tagalong.backend.server.prediction.request import parse_control_name, parse_predict_request
from tagalong.backend.server.service import Service
from tagalong.backend.server.settings import Settings
from tagalong.ner.errors import TagalongError
from tagalong.ner.tiers import DEFAULT_TIER

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


# The framework creates a model object for every request. Threads and connections do not survive a
# fork, so each process has a service of its own.
_lock = threading.Lock()
_services: dict[int, Service] = {}
_started: set[int] = set()


def process_service(*, with_weights: bool = False) -> Service:
    """The service of this process; a process for one event never needs the weights."""
    process = os.getpid()
    with _lock:
        if process not in _services:
            _services[process] = Service(_read_settings())
        if with_weights and process not in _started:
            _services[process].start()
            _started.add(process)
        return _services[process]


def _read_settings() -> Settings:
    # From the environment, because the framework creates our objects.
    return Settings(
        models=Path(os.environ.get("TAGALONG_MODELS", "models")),
        allowed_hosts=parse_hosts(os.environ.get("TAGALONG_ALLOWED_HOSTS", "")),
        label_studio_url=os.environ.get("LABEL_STUDIO_URL") or None,
        label_studio_key=os.environ.get("LABEL_STUDIO_API_KEY") or None,
    )


class Tagalong(LabelStudioMLBase):
    """The encoder tier as a model of the framework.

    All objects of a process share one loaded version. The first prediction loads it, and a
    promotion replaces it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # 1.0.9 passes the result of its last job, and answers /setup with the job_id in it. By
        # default that is the time of the last annotation, so Label Studio would request all
        # predictions again after each one.
        self._framework_knows_version = False
        super().__init__(*args, **kwargs)
        job = kwargs.get("train_output")
        if job:
            job["job_id"] = process_service().model_pool.find(TIER).serving_version()
            self._framework_knows_version = True

    def setup(self) -> None:
        """Set the version that 2.x reports. Reads no weights."""
        self._framework_knows_version = True
        with suppress(TagalongError):  # `predict` raises it; events are recorded meanwhile
            version = process_service().model_pool.find(TIER).serving_version()
            if self.get("model_version") != version:
                self.set("model_version", version)

    def set_extra_params(self, extra_params: object) -> None:
        """Store the extra params as text, because 2.x can store nothing else."""
        is_text = isinstance(extra_params, str)
        super().set_extra_params(extra_params if is_text else json.dumps(extra_params))

    def predict(
        self,
        tasks: Sequence[Mapping[str, Any]],
        context: Mapping[str, Any] | None = None,
        **kwargs: Any,  # noqa: ARG002 - login and password, which we never use
    ) -> list[dict[str, Any]]:
        """Predict tasks as Label Studio sends them; an interactive call has drawn regions.

        Returns:
            One result per task, in the same order. Results have no ``model_version`` if the
            framework answers ``/setup`` with a version of its own, as 1.0.9 does before the first
            event. Label Studio then uses that one, and does not request the same again.

        Raises:
            TagalongError: If no version is served, or the labelling config cannot be used.
        """
        service = process_service(with_weights=True)
        body = {
            "tasks": list(tasks),
            "label_config": self.label_config,
            "project": getattr(self, "project_id", ""),
            "params": {"context": context},
        }
        request = parse_predict_request(body, service.settings.limits)
        control_name = parse_control_name(getattr(self, "extra_params", None))
        results = service.predict_handler.handle(
            request, service.model_pool.find(TIER), control_name=control_name
        )
        if self._framework_knows_version:
            return results
        return [
            {key: value for key, value in result.items() if key != "model_version"}
            for result in results
        ]

    def process_event(
        self, event: str, data: Mapping[str, Any], job_id: str, additional_params: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Handle an event in 1.0.9, which calls this in a process of its own, as `fit` does."""
        # A result for every event: at each /setup the framework searches all events back to the
        # last one with a result.
        return self.fit(event, data, job_id=job_id, **additional_params)

    def fit(self, event: str, data: Mapping[str, Any], **kwargs: Any) -> dict[str, Any]:  # noqa: ARG002
        """Record an event for good, and return at once; training is another process's work.

        Returns:
            The number of the record; None for an event that Label Studio does not have, or that was
            recorded before.

        Raises:
            StateFileError: If it cannot be recorded.
        """
        event_store = process_service().event_store
        return {"recorded": event_store.write_payload({**data, "action": event})}
