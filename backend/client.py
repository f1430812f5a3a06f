"""What we ask of Label Studio, in its own terms: projects, tasks, backends, predictions."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Self, TypeVar

from backend.connection import PAGE, RETRIES, Connection
from backend.remote_objects import (
    Backend,
    Project,
    Sampling,
    StoredPrediction,
    Task,
    User,
    Webhook,
)
from ner.errors import LabelStudioError

SLOW = 150.0  # seconds: Label Studio itself waits 100 s for a backend's predictions

T = TypeVar("T")


def connect(url: str, key: str, *, retries: int = RETRIES) -> "LabelStudio":
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
    return LabelStudio(Connection(url, key, retries=retries))


class LabelStudio(AbstractContextManager["LabelStudio"]):
    """A Label Studio. Every method raises LabelStudioError where it cannot be asked or says no.

    Args:
        connection: Public, for whatever of the API has no method here.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return self.connection.url

    def version(self) -> str:
        """Its release, such as ``1.23.2``; told to anyone, whatever the legacy token."""
        return self.connection.read("api/version/", lambda answer: str(answer["release"]))

    def me(self) -> User:
        """Whose key it is."""
        return self.connection.read("api/current-user/whoami", User.from_json)

    def projects(self, title: str = "") -> list[Project]:
        """The projects the key can see.

        Args:
            title: Only those with exactly this title; all if empty.

        Returns:
            The newest first.
        """
        query = {"title": title} if title else {}
        found = list(
            self.connection.pages("api/projects/", query, "results", "count", Project.from_json)
        )
        return [project for project in found if title in ("", project.title)]

    def project(self, project: int) -> Project:
        """A project by its id."""
        return self.connection.read(f"api/projects/{project}/", Project.from_json)

    def create_project(self, title: str, label_config: str) -> Project:
        """Create a project.

        Args:
            title: 3 to 50 characters; several projects may have the same.
            label_config: XML.

        Returns:
            The project.
        """
        body = {"title": title, "label_config": label_config}
        return self._send("POST", "api/projects/", body, Project.from_json)

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
        self.connection.call("PATCH", f"api/projects/{project}/", body=given)
        return self.project(project)

    def tasks(self, project: int) -> Iterator[Task]:
        """The tasks of a project, page by page, in the order of their ids."""
        query = {"project": project, "resolve_uri": "false"}
        return self.connection.pages("api/tasks/", query, "tasks", "total", Task.from_json)

    def tasks_after(self, project: int, after: int = 0, *, unlabelled: bool = False) -> list[Task]:
        """A page of a project's tasks with their predictions, in the order of their ids.

        Pages that begin behind the last id of the one before miss nothing, whatever is added,
        removed or labelled meanwhile; numbered pages would.

        Args:
            project: Its id.
            after: Only tasks with a larger id.
            unlabelled: Only tasks that nobody has annotated.

        Returns:
            At most `PAGE` tasks; fewer where there are no more.
        """
        filters = [_filter("id", "greater", after)]
        if unlabelled:
            filters.append(_filter("total_annotations", "equal", 0))
        return self._first_tasks(project, filters)

    def tasks_of(self, project: int, ids: Sequence[int]) -> list[Task]:
        """Some tasks of a project with their predictions, in the order of their ids.

        Args:
            project: Its id.
            ids: Of at most `PAGE` tasks.

        Returns:
            Those that are there.
        """
        return self._first_tasks(project, [_filter("id", "in_list", list(ids))])

    def ids_of_view(self, project: int, view: int) -> list[int]:
        """The tasks that a tab of the Data Manager shows.

        Args:
            project: Its id.
            view: The number behind ``tab=`` in the address.

        Returns:
            Their ids, in its order.
        """
        query = {"project": project, "view": view, "resolve_uri": "false"}
        return list(self.connection.pages("api/tasks/", query, "tasks", "total", _id_of))

    def _first_tasks(self, project: int, filters: Sequence[Mapping[str, Any]]) -> list[Task]:
        """The first page of what passes all filters."""
        wanted = {
            "filters": {"conjunction": "and", "items": list(filters)},
            "ordering": ["tasks:id"],
        }
        query = {
            "project": project,
            "query": json.dumps(wanted),
            "fields": "all",  # predictions too
            "resolve_uri": "false",
            "page": 1,
            "page_size": PAGE,
        }
        answer = self.connection.call("GET", "api/tasks/", query=query, seconds=SLOW)
        return self.connection.made(
            lambda answer: list(map(Task.from_json, answer["tasks"])), answer, "api/tasks/"
        )

    def import_tasks(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        """Add tasks.

        Args:
            project: Its id.
            tasks: Each with its ``data``.

        Returns:
            Their ids, in the same order.
        """
        path = f"api/projects/{project}/import?return_task_ids=true"
        return self._send("POST", path, list(tasks), lambda answer: list(answer["task_ids"]))

    def backends(self, project: int) -> list[Backend]:
        """The backends of a project; Label Studio asks each for its health and setup first."""
        return self.connection.read(f"api/ml/?project={project}", _list_of(Backend.from_json))

    def add_backend(
        self,
        project: int,
        url: str,
        title: str,
        *,
        login: tuple[str, str] | None = None,
        interactive: bool = True,
        extra_params: Any = None,
    ) -> Backend:
        """Connect a backend: Label Studio asks it for its health and setup, and adds a webhook.

        Args:
            project: Its id.
            url: Of the backend, as Label Studio reaches it.
            title: The version it serves, or scores stay empty and sampling random.
            login: User and password, if it asks for them.
            interactive: Whether to ask it while an annotator draws.
            extra_params: Handed to its ``/setup``.

        Returns:
            The backend.
        """
        body = {
            "project": project,
            "url": url,
            "title": title,
            "is_interactive": interactive,
            "extra_params": extra_params,
            **_auth(login),
        }
        return self._send("POST", "api/ml/", body, Backend.from_json)

    def update_backend(
        self,
        backend: Backend,
        *,
        title: str | None = None,
        login: tuple[str, str] | None = None,
        interactive: bool | None = None,
    ) -> Backend:
        """Change a backend; what is None stays as it is.

        Args:
            backend: As it is.
            title: The version it serves; the project follows if it went by the old title.
            login: User and password.
            interactive: Whether to ask it while an annotator draws.

        Returns:
            The backend as it is then.
        """
        # Label Studio checks health and setup with what is sent and nothing else: without the URL
        # it fails, and without the user it asks as nobody. An empty password keeps the old one.
        kept = (backend.user, "") if backend.auth == "BASIC_AUTH" else None
        body = {
            "project": backend.project,
            "url": backend.url,
            "title": backend.title if title is None else title,
            "is_interactive": backend.interactive if interactive is None else interactive,
            "extra_params": backend.extra_params,
            **_auth(login or kept),
        }
        return self._send("PATCH", f"api/ml/{backend.id}", body, Backend.from_json)

    def remove_backend(self, backend: int) -> None:
        """Disconnect a backend by its id; its predictions stay."""
        self.connection.call("DELETE", f"api/ml/{backend}")

    def request_predictions(self, project: int, tasks: Sequence[int] = ()) -> None:
        """Have the first backend predict: "Retrieve Predictions" of the Data Manager.

        Tasks that hold a prediction of the version served are left out. Label Studio says that
        all went well even where nothing was stored: look at :meth:`predictions` afterwards.

        Args:
            project: Its id.
            tasks: Only these; all if empty.
        """
        selected = {"all": False, "included": list(tasks)} if tasks else {"all": True}
        path = f"api/dm/actions/?id=retrieve_tasks_predictions&project={project}"
        body = {"selectedItems": selected}
        self.connection.call("POST", path, body=body, seconds=SLOW)

    def predictions(self, project: int) -> list[StoredPrediction]:
        """All predictions stored in a project, regions included."""
        path = f"api/predictions/?project={project}"
        return self.connection.read(path, _list_of(StoredPrediction.from_json), seconds=SLOW)

    def import_predictions(self, project: int, items: Sequence[Mapping[str, Any]]) -> int:
        """Store predictions, all of them in one transaction.

        Label Studio leaves out what breaks a rule of the labelling config, or refuses all of it
        for that, as it is set; it refuses all where one task is not there.

        Args:
            project: Its id.
            items: Each with ``task``, ``result``, ``score`` and ``model_version``.

        Returns:
            How many it stored.
        """
        path = f"api/projects/{project}/import/predictions"
        return self._send("POST", path, list(items), lambda answer: int(answer["created"]))

    def remove_prediction(self, prediction: int) -> None:
        """Remove a prediction by its id."""
        self.connection.call("DELETE", f"api/predictions/{prediction}/")

    def test_backend(self, backend: int) -> Mapping[str, Any]:
        """Have a backend predict a random task, store nothing.

        Args:
            backend: Its id.

        Returns:
            What was sent (``request``), and what came back (``status``, ``error_message``,
            ``response``).
        """
        path = f"api/ml/{backend}/predict/test?random=true"
        answer = self.connection.call("POST", path, seconds=SLOW)
        return self.connection.made(dict, answer, path)

    def webhooks(self, project: int) -> list[Webhook]:
        """The webhooks of a project, without those of the whole organisation."""
        return self.connection.read(f"api/webhooks/?project={project}", _list_of(Webhook.from_json))

    def remove_webhook(self, webhook: int) -> None:
        """Remove a webhook by its id."""
        self.connection.call("DELETE", f"api/webhooks/{webhook}/")

    def feature_flags(self) -> dict[str, bool] | None:
        """Which feature flags are on; None where the key is not shown them.

        A legacy token never is: the page takes a session or a personal token.
        """
        try:
            page = self.connection.fetch("GET", "feature-flags/")
        except LabelStudioError as error:
            if error.problem in ("forbidden", "missing"):
                return None
            raise
        held = re.search(r"\{.*\}", page, re.DOTALL)
        if held is None:
            raise self.connection.foreign("feature-flags/")
        flags = self.connection.made(json.loads, held[0], "feature-flags/")
        return {name: flag for name, flag in flags.items() if isinstance(flag, bool)}

    def _send(
        self, method: Literal["POST", "PATCH"], path: str, body: Any, build: Callable[[Any], T]
    ) -> T:
        """POST or PATCH, and what the answer stands for."""
        answer = self.connection.call(method, path, body=body, seconds=SLOW)
        return self.connection.made(build, answer, path)


def _list_of(build: Callable[[Any], T]) -> Callable[[Any], list[T]]:
    """What reads a list, given what reads one item."""
    return lambda answer: list(map(build, answer))


def _id_of(item: Mapping[str, Any]) -> int:
    """The id of what has one."""
    return int(item["id"])


def _filter(column: str, operator: str, value: Any) -> dict[str, Any]:
    """A filter of the Data Manager over a column of numbers."""
    name = f"filter:tasks:{column}"
    return {"filter": name, "operator": operator, "type": "Number", "value": value}


def _auth(login: tuple[str, str] | None) -> dict[str, str]:
    """The fields of a backend that make Label Studio log in to it."""
    if login is None:
        return {"auth_method": "NONE"}
    user, password = login
    return {"auth_method": "BASIC_AUTH", "basic_auth_user": user, "basic_auth_pass": password}
