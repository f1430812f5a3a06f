"""What the checks look at, each asked for once: Label Studio's side, and the backend's own answers.

A fact that cannot be had raises, and the check that wanted it says why.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Self

from tagalong.backend.doctor.backend_client import (
    BackendResponse,
    Login,
    NoResponseError,
    call_backend,
)
from tagalong.backend.label_studio.api.client import LabelStudioClient, connect
from tagalong.backend.label_studio.api.objects import MLBackend, Project, View, Webhook
from tagalong.backend.label_studio.config import parse_label_config
from tagalong.backend.label_studio.results import LabelConfig
from tagalong.ner.errors import LabelStudioError

ANONYMOUS_KEY = "doctor"  # a key for what Label Studio tells without one
MAX_SAMPLED_TASKS = 50  # tasks looked at one by one; what Label Studio counts by itself covers all
MODEL_CLASS = "Tagalong"  # how our own server names itself in /health

HEALTH_TIMEOUT_SECONDS, SETUP_TIMEOUT_SECONDS, PREDICT_TIMEOUT_SECONDS = (
    5.0,
    10.0,
    30.0,
)  # seconds, to say by how much it is late


@dataclass(frozen=True, slots=True)
class DoctorOptions:
    """What the doctor is asked.

    Attributes:
        url: Of Label Studio.
        key: A legacy token or a personal one.
        project: Its id.
        backend_url: The backend's URL from here, where Label Studio calls it by another, or has not
            been told yet.
        login: User and password that the backend asks for.
        label_studio_timeout_seconds: Seconds that an answer of Label Studio may take.
    """

    url: str
    key: str = field(repr=False)
    project: int
    backend_url: str | None = None
    login: Login | None = field(default=None, repr=False)
    label_studio_timeout_seconds: float = 30.0


class DoctorContext(AbstractContextManager["DoctorContext"]):
    """A project of a Label Studio, and its backend.

    Args:
        options: What is asked.
    """

    def __init__(self, options: DoctorOptions) -> None:
        self.options = options

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if "studio" in self.__dict__:  # else it was never asked with the key
            self.client.connection.close()

    @cached_property
    def client(self) -> LabelStudioClient:
        """Label Studio, asked with the key."""
        return connect(self.options.url, self.options.key, retries=0)

    def read_label_studio_version(self) -> str:
        """The version of Label Studio, whatever the key."""
        with connect(self.options.url, ANONYMOUS_KEY, retries=0) as studio:
            return studio.connection.get(
                "api/version/",
                lambda answer: str(answer["release"]),
                timeout_seconds=self.options.label_studio_timeout_seconds,
            )

    @cached_property
    def project_json(self) -> Mapping[str, Any]:
        """The project as the API gives it."""
        path = f"api/projects/{self.options.project}/"
        return self.client.connection.get(path, dict)

    @cached_property
    def project(self) -> Project:
        """The project."""
        path = f"api/projects/{self.options.project}/"
        return self.client.connection.parse_answer(Project.from_json, self.project_json, path)

    @cached_property
    def config(self) -> LabelConfig:
        """The labelling config, read as our server reads it."""
        control = self.backend.control_name if self.backend else None
        return parse_label_config(self.project.label_config, control=control)

    @cached_property
    def tasks(self) -> Sequence[Mapping[str, Any]]:
        """The tasks that were changed last, as Label Studio sends them to a backend."""
        if not self.project.task_count:
            return ()
        path = f"api/projects/{self.project.id}/tasks/?page_size={MAX_SAMPLED_TASKS}"
        return self.client.connection.get(path, lambda answer: [dict(task) for task in answer])

    @cached_property
    def version_counts(self) -> Mapping[str, int]:
        """How many predictions are stored, by version."""
        path = f"api/projects/{self.project.id}/model-versions/"
        counts: dict[str, int] = self.client.connection.get(path, dict)
        return {str(version): int(count) for version, count in counts.items() if count}

    @cached_property
    def backends(self) -> list[MLBackend]:
        """The project's backends, after Label Studio has asked each for its health and setup."""
        return self.client.ml_backends.list_for_project(self.project.id)

    @property
    def backend(self) -> MLBackend | None:
        """The one that Label Studio asks for predictions: the first."""
        return self.backends[0] if self.backends else None

    @cached_property
    def connection_error(self) -> str:
        """What keeps Label Studio from calling the backend; empty if nothing does.

        Of a health check it keeps no reason, but it tells that of any other call.
        """
        backend = self.backend
        if backend is None or backend.is_connected or backend.error:
            return backend.error if backend else ""
        try:
            path = f"api/ml/{backend.id}/versions"
            self.client.connection.request_json("GET", path)
        except LabelStudioError as error:
            return error.detail
        return ""

    @property
    def extra_params(self) -> Mapping[str, Any]:
        """The extra params of the backend."""
        extra = self.backend.extra_params if self.backend else None
        return extra if isinstance(extra, dict) else {}

    @cached_property
    def webhooks(self) -> list[Webhook]:
        """Of the project."""
        return self.client.webhooks.list_for_project(self.project.id)

    @cached_property
    def views(self) -> list[View]:
        """The tabs of the project's Data Manager."""
        return self.client.views.list_for_project(self.project.id)

    def forget_views(self) -> None:
        """Have the tabs read again: they were changed."""
        self.__dict__.pop("views", None)

    @property
    def backend_url(self) -> str | None:
        """The backend's URL as Label Studio calls it, or would."""
        url = self.backend.url if self.backend else self.options.backend_url
        return url.rstrip("/") if url else None

    @property
    def local_backend_url(self) -> str | None:
        """The backend's URL from here."""
        url = self.options.backend_url or self.backend_url
        return url.rstrip("/") if url else None

    @cached_property
    def health_response(self) -> BackendResponse | NoResponseError:
        """What the backend says of its health."""
        return self.call("health", timeout_seconds=HEALTH_TIMEOUT_SECONDS)

    @cached_property
    def versions_response(self) -> BackendResponse | NoResponseError:
        """The first answer that a backend with a password refuses to give without it."""
        return self.call("versions", login=None, timeout_seconds=SETUP_TIMEOUT_SECONDS)

    @cached_property
    def setup_response(self) -> BackendResponse | NoResponseError:
        """What the backend says to the project, asked as Label Studio does."""
        backend = self.backend
        body = {
            "project": self._project_uid,
            "schema": self.project.label_config,
            "hostname": self.client.url,
            "access_token": "",
            "extra_params": backend.extra_params if backend else None,
        }
        return self.call(
            "setup", body, login=self.options.login, timeout_seconds=SETUP_TIMEOUT_SECONDS
        )

    @cached_property
    def predict_response(self) -> BackendResponse | NoResponseError:
        """What the backend says to one task."""
        body = {
            "tasks": [self.tasks[0]],
            "project": self._project_uid,
            "label_config": self.project.label_config,
            "params": {"login": None, "password": None, "context": None},
        }
        return self.call(
            "predict", body, login=self.options.login, timeout_seconds=PREDICT_TIMEOUT_SECONDS
        )

    @property
    def requires_login(self) -> bool:
        """Whether the backend refuses who brings no user and password."""
        return any(
            isinstance(reply, BackendResponse) and reply.status == 401
            for reply in (self.health_response, self.versions_response)
        )

    @property
    def served_version(self) -> str:
        """The version that the backend names in its setup; empty where it names none."""
        if isinstance(self.setup_response, BackendResponse) and self.setup_response.is_success:
            return str(self.setup_response.get("model_version") or "")
        return self.backend.model_version if self.backend and self.backend.is_connected else ""

    @property
    def is_tagalong(self) -> bool:
        """Whether the backend is our own server."""
        return (
            isinstance(self.health_response, BackendResponse)
            and self.health_response.get("model_class") == MODEL_CLASS
        )

    @property
    def _project_uid(self) -> str:
        """How Label Studio names the project to a backend: with the second it was created in."""
        created = datetime.fromisoformat(self.project_json["created_at"])
        return f"{self.project.id}.{int(created.timestamp())}"

    def call(
        self,
        route: str,
        body: Any = None,
        *,
        login: Login | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float,
    ) -> BackendResponse | NoResponseError:
        """Ask the backend.

        Args:
            route: The route.
            body: Posted as JSON; None for a GET.
            login: User and password to send.
            headers: To send besides.
            timeout_seconds: To wait.

        Returns:
            Its reply, or why there is none.
        """
        url = f"{self.local_backend_url}/{route}"
        try:
            return call_backend(
                url, body=body, login=login, headers=headers, timeout_seconds=timeout_seconds
            )
        except NoResponseError as error:
            return error
