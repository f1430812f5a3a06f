"""The data of the checks, from Label Studio and from the backend, each requested once.

A property raises if its request fails, and the check that reads it reports the error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tagalong.backend.doctor.backend_client import BackendResponse, Login, call_backend
from tagalong.backend.label_studio.api.client import LabelStudioClient, connect
from tagalong.backend.label_studio.api.objects import MLBackend, Project, View
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.label_config_parser import parse_label_config
from tagalong.backend.server.settings import MODEL_CLASS
from tagalong.ner.errors import LabelStudioError

ANONYMOUS_KEY = "doctor"  # Label Studio tells its version whatever the key
DEFAULT_BACKEND_URL = "http://127.0.0.1:9090"  # of `tagalong serve`
MAX_SAMPLED_TASKS = 50  # checked one by one; counts of Label Studio cover all tasks
# Longer than the limits of Label Studio, to measure by how much an answer is late.
HEALTH_TIMEOUT_SECONDS = 5.0
SETUP_TIMEOUT_SECONDS = 10.0
PREDICT_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class DoctorOptions:
    """The project to check."""

    url: str
    key: str = field(repr=False)  # a legacy token or a personal one
    project: int
    backend_url: str | None = None  # from here, if Label Studio uses another address or none yet
    login: Login | None = field(default=None, repr=False)  # of the backend
    label_studio_timeout_seconds: float = 30.0  # for the first answer of Label Studio


class DoctorContext:
    """A project of a Label Studio, and its backend."""

    def __init__(self, options: DoctorOptions) -> None:
        self.options = options

    def close(self) -> None:
        """Close the connection to Label Studio, if there is one."""
        if "client" in self.__dict__:  # the property was read
            self.client.connection.close()

    @cached_property
    def client(self) -> LabelStudioClient:
        """A client with the user's key; no retries, so that problems show."""
        return connect(self.options.url, self.options.key, retries=0)

    def read_label_studio_version(self) -> str:
        """The version of Label Studio, which needs no valid key."""
        with connect(self.options.url, ANONYMOUS_KEY, retries=0) as client:
            return client.read_version(timeout_seconds=self.options.label_studio_timeout_seconds)

    @cached_property
    def project(self) -> Project:
        """The project."""
        return self.client.get_project(self.options.project)

    @cached_property
    def config(self) -> LabelConfig:
        """The labelling config, parsed as our server does."""
        # The extra params of the backend choose between several controls.
        control = self.backend.control_name if self.backend else None
        return parse_label_config(self.project.label_config, control=control)

    @cached_property
    def tasks(self) -> Sequence[Mapping[str, Any]]:
        """The tasks changed last, in the JSON that Label Studio sends to a backend."""
        if not self.project.task_count:  # Label Studio answers 404 for an empty list
            return ()
        path = f"api/projects/{self.project.id}/tasks/?page_size={MAX_SAMPLED_TASKS}"
        return self.client.connection.get(path, lambda answer: [dict(task) for task in answer])

    @cached_property
    def version_counts(self) -> Mapping[str, int]:
        """The number of stored predictions by version."""
        counts = self.client.predictions.count_by_version(self.project.id)
        return {version: count for version, count in counts.items() if count}

    @cached_property
    def backends(self) -> list[MLBackend]:
        """The project's backends; the request makes Label Studio call health and setup of each."""
        return self.client.ml_backends.list_for_project(self.project.id)

    @property
    def backend(self) -> MLBackend | None:
        """The first backend, which is the one that Label Studio asks for predictions."""
        return self.backends[0] if self.backends else None

    @cached_property
    def connection_error(self) -> str:
        """The reason why Label Studio cannot call the backend; empty if it can."""
        backend = self.backend
        if backend is None or backend.is_connected or backend.error:
            return backend.error if backend else ""
        try:  # Label Studio keeps no reason for a failed health check, so make it call versions
            self.client.connection.request_json("GET", f"api/ml/{backend.id}/versions")
        except LabelStudioError as error:
            return error.detail
        return ""

    @cached_property
    def views(self) -> list[View]:
        """The tabs of the project's Data Manager."""
        return self.client.views.list_for_project(self.project.id)

    @property
    def backend_url(self) -> str | None:
        """Address of the backend for Label Studio."""
        url = self.backend.url if self.backend else self.options.backend_url
        return url.rstrip("/") if url else None

    @property
    def local_backend_url(self) -> str | None:
        """Address of the backend from here."""
        url = self.options.backend_url or self.backend_url
        return url.rstrip("/") if url else None

    @cached_property
    def health_response(self) -> BackendResponse:
        """The backend's answer to ``/health``."""
        return self.call("health", timeout_seconds=HEALTH_TIMEOUT_SECONDS)

    @cached_property
    def setup_response(self) -> BackendResponse:
        """The answer to ``/setup`` with the body that Label Studio sends."""
        body = {
            "project": self.project.key,
            "schema": self.project.label_config,
            "hostname": self.client.url,
            "access_token": "",
            "extra_params": self.backend.extra_params if self.backend else None,
        }
        login = self.options.login
        return self.call("setup", body, login=login, timeout_seconds=SETUP_TIMEOUT_SECONDS)

    @cached_property
    def predict_response(self) -> BackendResponse:
        """The answer to ``/predict`` for one task."""
        body = {
            "tasks": [self.tasks[0]],
            "project": self.project.key,
            "label_config": self.project.label_config,
            "params": {"login": None, "password": None, "context": None},
        }
        login = self.options.login
        return self.call("predict", body, login=login, timeout_seconds=PREDICT_TIMEOUT_SECONDS)

    @cached_property
    def requires_login(self) -> bool:
        """Whether the backend refuses requests without user and password."""
        # The first route that asks for a login; some backends ask even for health.
        versions = self.call("versions", timeout_seconds=SETUP_TIMEOUT_SECONDS)
        return 401 in (self.health_response.status, versions.status)

    @property
    def served_version(self) -> str:
        """The version in the answer to ``/setup``; empty if unknown."""
        if self.setup_response.is_success:
            return str(self.setup_response.get("model_version") or "")
        return self.backend.model_version if self.backend and self.backend.is_connected else ""

    @property
    def model_labels(self) -> Sequence[str]:
        """The labels of the model that serves the project; only our own server lists them."""
        # An older server, or one that refuses the doctor's login, tells those of its address only.
        for response in self.setup_response, self.health_response:
            labels = response.get("labels")
            if response.is_success and isinstance(labels, list):
                return [str(label) for label in labels]
        return ()

    @property
    def connect_advice(self) -> str:
        """The command that corrects the connection, as the beginning of a remedy."""
        command = f"tagalong connect --project {self.options.project}"
        if self.backend_url not in (None, DEFAULT_BACKEND_URL):
            command += f" --backend-url {self.backend_url}"
        if self.local_backend_url != self.backend_url:
            command += f" --backend {self.local_backend_url}"
        return f"Run `{command}`"

    @property
    def is_tagalong(self) -> bool:
        """Whether the backend is our own server."""
        return self.health_response.get("model_class") == MODEL_CLASS

    def call(self, route: str, body: Any = None, **options: Any) -> BackendResponse:
        """Call the backend from here; the options are those of `call_backend`."""
        return call_backend(f"{self.local_backend_url}/{route}", body, **options)
