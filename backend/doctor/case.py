"""What the checks look at, each asked for once: Label Studio's side, and the backend's own answers.

A fact that cannot be had raises, and the check that wanted it says why.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Self

from backend.doctor.calling import Login, NoReplyError, Reply, call_backend
from backend.label_config import parse_label_config
from backend.label_studio import LabelConfig
from backend.remote.client import LabelStudio, connect
from backend.remote.objects import Backend, Project, View, Webhook
from ner.errors import LabelStudioError

ANYBODY = "doctor"  # a key for what Label Studio tells without one
SAMPLE = 50  # tasks looked at one by one; what Label Studio counts by itself covers all
MODEL_CLASS = "Tagalong"  # how our own server names itself in /health

HEALTH_WAIT, SETUP_WAIT, PREDICT_WAIT = 5.0, 10.0, 30.0  # seconds, to say by how much it is late


@dataclass(frozen=True, slots=True)
class Question:
    """What the doctor is asked.

    Attributes:
        url: Of Label Studio.
        key: A legacy token or a personal one.
        project: Its id.
        backend: The backend's URL from here, where Label Studio calls it by another, or has not
            been told yet.
        login: User and password that the backend asks for.
        patience: Seconds that an answer of Label Studio may take.
    """

    url: str
    key: str = field(repr=False)
    project: int
    backend: str | None = None
    login: Login | None = field(default=None, repr=False)
    patience: float = 30.0


class Case(AbstractContextManager["Case"]):
    """A project of a Label Studio, and its backend.

    Args:
        question: What is asked.
    """

    def __init__(self, question: Question) -> None:
        self.question = question

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if "studio" in self.__dict__:  # else it was never asked with the key
            self.studio.connection.close()

    @cached_property
    def studio(self) -> LabelStudio:
        """Label Studio, asked with the key."""
        return connect(self.question.url, self.question.key, retries=0)

    def release(self) -> str:
        """The version of Label Studio, whatever the key."""
        with connect(self.question.url, ANYBODY, retries=0) as studio:
            return studio.connection.read(
                "api/version/",
                lambda answer: str(answer["release"]),
                seconds=self.question.patience,
            )

    @cached_property
    def project_json(self) -> Mapping[str, Any]:
        """The project as the API gives it."""
        path = f"api/projects/{self.question.project}/"
        return self.studio.connection.read(path, dict)

    @cached_property
    def project(self) -> Project:
        """The project."""
        path = f"api/projects/{self.question.project}/"
        return self.studio.connection.made(Project.from_json, self.project_json, path)

    @cached_property
    def config(self) -> LabelConfig:
        """The labelling config, read as our server reads it."""
        control = self.backend.control if self.backend else None
        return parse_label_config(self.project.label_config, control=control)

    @cached_property
    def tasks(self) -> Sequence[Mapping[str, Any]]:
        """The tasks that were changed last, as Label Studio sends them to a backend."""
        if not self.project.task_count:
            return ()
        path = f"api/projects/{self.project.id}/tasks/?page_size={SAMPLE}"
        return self.studio.connection.read(path, lambda answer: [dict(task) for task in answer])

    @cached_property
    def version_counts(self) -> Mapping[str, int]:
        """How many predictions are stored, by version."""
        path = f"api/projects/{self.project.id}/model-versions/"
        counts: dict[str, int] = self.studio.connection.read(path, dict)
        return {str(version): int(count) for version, count in counts.items() if count}

    @cached_property
    def backends(self) -> list[Backend]:
        """The project's backends, after Label Studio has asked each for its health and setup."""
        return self.studio.backends.of(self.project.id)

    @property
    def backend(self) -> Backend | None:
        """The one that Label Studio asks for predictions: the first."""
        return self.backends[0] if self.backends else None

    @cached_property
    def complaint(self) -> str:
        """What keeps Label Studio from calling the backend; empty if nothing does.

        Of a health check it keeps no reason, but it tells that of any other call.
        """
        backend = self.backend
        if backend is None or backend.connected or backend.error:
            return backend.error if backend else ""
        try:
            path = f"api/ml/{backend.id}/versions"
            self.studio.connection.call("GET", path)
        except LabelStudioError as error:
            return error.detail
        return ""

    @property
    def extra(self) -> Mapping[str, Any]:
        """The extra params of the backend."""
        extra = self.backend.extra_params if self.backend else None
        return extra if isinstance(extra, dict) else {}

    @cached_property
    def webhooks(self) -> list[Webhook]:
        """Of the project."""
        return self.studio.webhooks.of(self.project.id)

    @cached_property
    def views(self) -> list[View]:
        """The tabs of the project's Data Manager."""
        return self.studio.views.of(self.project.id)

    def forget_views(self) -> None:
        """Have the tabs read again: they were changed."""
        self.__dict__.pop("views", None)

    @property
    def address(self) -> str | None:
        """The backend's URL as Label Studio calls it, or would."""
        url = self.backend.url if self.backend else self.question.backend
        return url.rstrip("/") if url else None

    @property
    def local_address(self) -> str | None:
        """The backend's URL from here."""
        url = self.question.backend or self.address
        return url.rstrip("/") if url else None

    @cached_property
    def health(self) -> Reply | NoReplyError:
        """What the backend says of its health."""
        return self.ask("health", seconds=HEALTH_WAIT)

    @cached_property
    def versions(self) -> Reply | NoReplyError:
        """The first answer that a backend with a password refuses to give without it."""
        return self.ask("versions", login=None, seconds=SETUP_WAIT)

    @cached_property
    def setup(self) -> Reply | NoReplyError:
        """What the backend says to the project, asked as Label Studio does."""
        backend = self.backend
        body = {
            "project": self._uid,
            "schema": self.project.label_config,
            "hostname": self.studio.url,
            "access_token": "",
            "extra_params": backend.extra_params if backend else None,
        }
        return self.ask("setup", body, login=self.question.login, seconds=SETUP_WAIT)

    @cached_property
    def prediction(self) -> Reply | NoReplyError:
        """What the backend says to one task."""
        body = {
            "tasks": [self.tasks[0]],
            "project": self._uid,
            "label_config": self.project.label_config,
            "params": {"login": None, "password": None, "context": None},
        }
        return self.ask("predict", body, login=self.question.login, seconds=PREDICT_WAIT)

    @property
    def asks_login(self) -> bool:
        """Whether the backend refuses who brings no user and password."""
        return any(
            isinstance(reply, Reply) and reply.status == 401
            for reply in (self.health, self.versions)
        )

    @property
    def served_version(self) -> str:
        """The version that the backend names in its setup; empty where it names none."""
        if isinstance(self.setup, Reply) and self.setup.is_success:
            return str(self.setup.get("model_version") or "")
        return self.backend.model_version if self.backend and self.backend.connected else ""

    @property
    def is_ours(self) -> bool:
        """Whether the backend is our own server."""
        return isinstance(self.health, Reply) and self.health.get("model_class") == MODEL_CLASS

    @property
    def _uid(self) -> str:
        """How Label Studio names the project to a backend: with the second it was created in."""
        created = datetime.fromisoformat(self.project_json["created_at"])
        return f"{self.project.id}.{int(created.timestamp())}"

    def ask(
        self,
        verb: str,
        body: Any = None,
        *,
        login: Login | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float,
    ) -> Reply | NoReplyError:
        """Ask the backend.

        Args:
            verb: The route.
            body: Posted as JSON; None for a GET.
            login: User and password to send.
            headers: To send besides.
            seconds: To wait.

        Returns:
            Its reply, or why there is none.
        """
        url = f"{self.local_address}/{verb}"
        try:
            return call_backend(url, body=body, login=login, headers=headers, seconds=seconds)
        except NoReplyError as error:
            return error
