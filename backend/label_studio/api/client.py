"""A Label Studio: its projects, and their tasks, ML backends, predictions, webhooks and tabs."""

import json
import re
from contextlib import AbstractContextManager

import httpx

from tagalong.backend.label_studio.api.http_client import (
    MAX_RETRIES,
    READ_TIMEOUT_SECONDS,
    Connection,
)
from tagalong.backend.label_studio.api.objects import Project, Sampling, User
from tagalong.backend.label_studio.api.resources import (
    MLBackends,
    Predictions,
    Tasks,
    Views,
    Webhooks,
)
from tagalong.ner.errors import LabelStudioError


def connect(
    url: str, key: str, *, retries: int = MAX_RETRIES, transport: httpx.BaseTransport | None = None
) -> "LabelStudioClient":
    """Make a client; nothing is sent yet. Arguments and errors are those of `Connection`."""
    return LabelStudioClient(Connection(url, key, max_retries=retries, transport=transport))


class LabelStudioClient(AbstractContextManager["LabelStudioClient"]):
    """A Label Studio. Every method raises LabelStudioError if a request fails or is refused."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection  # public, for the parts of the API that have no method here
        self.tasks = Tasks(connection)
        self.ml_backends = MLBackends(connection)
        self.predictions = Predictions(connection)
        self.webhooks = Webhooks(connection)
        self.views = Views(connection)

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    @property
    def url(self) -> str:
        """The address, without a slash at the end."""
        return self.connection.url

    def read_version(self, *, timeout_seconds: float = READ_TIMEOUT_SECONDS) -> str:
        """The release, such as ``1.23.2``; needs no valid legacy token."""
        return self.connection.get(
            "api/version/", lambda answer: str(answer["release"]), timeout_seconds=timeout_seconds
        )

    def whoami(self) -> User:
        """The owner of the key."""
        return self.connection.get("api/current-user/whoami", User.from_json)

    def list_projects(self, title: str = "") -> list[Project]:
        """The projects that the key can see, or those of an exact title, the newest first."""
        # Label Studio's own filter finds every title that contains this one.
        query = {"title": title} if title else {}
        fields = ("results", "count")
        projects = self.connection.paginate("api/projects/", query, fields, Project.from_json)
        return [project for project in projects if title in ("", project.title)]

    def get_project(self, project: int) -> Project:
        """A project by its id."""
        return self.connection.get(f"api/projects/{project}/", Project.from_json)

    def create_project(self, title: str, label_config: str) -> Project:
        """Create a project; the title has 3 to 50 characters, and need not be unique."""
        body = {"title": title, "label_config": label_config}
        return self.connection.send("POST", "api/projects/", body, Project.from_json)

    def update_project(
        self,
        project: int,
        *,
        model_version: str | None = None,
        shows_predictions: bool | None = None,
        sampling: Sampling | None = None,
    ) -> None:
        """Change settings of a project, see `Project`; None leaves a setting as it is."""
        body = {
            "model_version": model_version,
            "show_collab_predictions": shows_predictions,
            "sampling": sampling,
        }
        changes = {name: value for name, value in body.items() if value is not None}
        self.connection.request_json("PATCH", f"api/projects/{project}/", body=changes)

    def read_feature_flags(self) -> dict[str, bool] | None:
        """The feature flags; None if the key may not read them."""
        try:  # a legacy token never may: the page asks for a browser session or a personal token
            page = self.connection.request_text("GET", "feature-flags/")
        except LabelStudioError as error:
            if error.kind in ("forbidden", "missing"):
                return None
            raise
        match = re.search(r"\{.*\}", page, re.DOTALL)  # JSON inside an HTML page
        if match is None:
            raise self.connection.not_label_studio_error("feature-flags/")
        flags = self.connection.parse_answer(json.loads, match[0], "feature-flags/")
        return {name: flag for name, flag in flags.items() if isinstance(flag, bool)}
