"""A Label Studio: its projects, and through it their tasks, backends, predictions and webhooks."""

import json
import re
from contextlib import AbstractContextManager
from typing import Self

from tagalong.backend.label_studio.api.backends import MLBackends
from tagalong.backend.label_studio.api.connection import MAX_RETRIES, Connection
from tagalong.backend.label_studio.api.objects import Project, Sampling, User
from tagalong.backend.label_studio.api.predictions import Predictions
from tagalong.backend.label_studio.api.tasks import Tasks
from tagalong.backend.label_studio.api.views import Views
from tagalong.backend.label_studio.api.webhooks import Webhooks
from tagalong.ner.errors import LabelStudioError


def connect(url: str, key: str, *, retries: int = MAX_RETRIES) -> "LabelStudioClient":
    """Prepare to ask a Label Studio; nothing is sent yet.

    Args:
        url: Its address, or that of one of its pages.
        key: A legacy token or a personal one.
        retries: How often to repeat what may be repeated, with growing pauses.

    Returns:
        What to ask.

    Raises:
        LabelStudioError: If the address or the key cannot be used.
    """
    return LabelStudioClient(Connection(url, key, max_retries=retries))


class LabelStudioClient(AbstractContextManager["LabelStudioClient"]):
    """A Label Studio. Every method raises LabelStudioError where it cannot be asked or says no.

    Args:
        connection: Public, for whatever of the API has no method here.

    Attributes:
        tasks: Of its projects.
        ml_backends: Of its projects.
        predictions: Of its projects.
        webhooks: Of its projects.
        views: The tabs of their Data Managers.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.tasks = Tasks(connection)
        self.ml_backends = MLBackends(connection)
        self.predictions = Predictions(connection)
        self.webhooks = Webhooks(connection)
        self.views = Views(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return self.connection.url

    def read_version(self) -> str:
        """Its release, such as ``1.23.2``; told to anyone, whatever the legacy token."""
        return self.connection.get("api/version/", lambda answer: str(answer["release"]))

    def whoami(self) -> User:
        """Whose key it is."""
        return self.connection.get("api/current-user/whoami", User.from_json)

    def list_projects(self, title: str = "") -> list[Project]:
        """The projects the key can see.

        Args:
            title: Only those with exactly this title; all if empty.

        Returns:
            The newest first.
        """
        query = {"title": title} if title else {}
        found = list(
            self.connection.paginate("api/projects/", query, "results", "count", Project.from_json)
        )
        return [project for project in found if title in ("", project.title)]

    def get_project(self, project: int) -> Project:
        """A project by its id."""
        return self.connection.get(f"api/projects/{project}/", Project.from_json)

    def create_project(self, title: str, label_config: str) -> Project:
        """Create a project.

        Args:
            title: 3 to 50 characters; several projects may have the same.
            label_config: XML.

        Returns:
            The project.
        """
        body = {"title": title, "label_config": label_config}
        return self.connection.send("POST", "api/projects/", body, Project.from_json)

    def update_project(
        self,
        project: int,
        *,
        model_version: str | None = None,
        shows_predictions: bool | None = None,
        sampling: Sampling | None = None,
    ) -> Project:
        """Change settings of a project; what is None stays as it is.

        Args:
            project: Its id.
            model_version: Whose predictions are shown and sorted by.
            shows_predictions: Whether annotators see predictions when they open a task.
            sampling: In which order tasks are handed out.

        Returns:
            The project as it is then.
        """
        body = {
            "model_version": model_version,
            "show_collab_predictions": shows_predictions,
            "sampling": sampling,
        }
        given = {name: value for name, value in body.items() if value is not None}
        self.connection.request_json("PATCH", f"api/projects/{project}/", body=given)
        return self.get_project(project)

    def read_feature_flags(self) -> dict[str, bool] | None:
        """Which feature flags are on; None where the key is not shown them.

        A legacy token never is: the page takes a session or a personal token.
        """
        try:
            page = self.connection.request_text("GET", "feature-flags/")
        except LabelStudioError as error:
            if error.kind in ("forbidden", "missing"):
                return None
            raise
        held = re.search(r"\{.*\}", page, re.DOTALL)
        if held is None:
            raise self.connection.not_label_studio_error("feature-flags/")
        flags = self.connection.parse_answer(json.loads, held[0], "feature-flags/")
        return {name: flag for name, flag in flags.items() if isinstance(flag, bool)}
