"""The resources of the API: tasks, predictions, ML backends, webhooks and tabs of projects."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from tagalong.backend.label_studio.api.filters import Filters, filter_item, match_all
from tagalong.backend.label_studio.api.http_client import (
    PAGE_SIZE,
    READ_TIMEOUT_SECONDS,
    SLOW_READ_TIMEOUT_SECONDS,
    Connection,
)
from tagalong.backend.label_studio.api.objects import (
    MLBackend,
    StoredPrediction,
    Task,
    View,
    Webhook,
)

SCORE = "predictions_score"
BY_SCORE = [f"tasks:{SCORE}"]  # lowest first

T = TypeVar("T")


class Resource:
    """One kind of object in the API. Methods raise LabelStudioError as `Connection` does."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def _list(
        self, path: str, parse: Callable[[Any], T], *, timeout_seconds: float = READ_TIMEOUT_SECONDS
    ) -> list[T]:
        return self._connection.get(
            path, lambda answer: list(map(parse, answer)), timeout_seconds=timeout_seconds
        )


class Tasks(Resource):
    """Reads and adds tasks."""

    def iterate_for_project(self, project: int) -> Iterator[Task]:
        """The tasks of a project without predictions, in the order of their ids."""
        return self._paginate({"project": project}, Task.from_json)

    def list_after(
        self, project: int, after_id: int, *, unlabeled_only: bool = False
    ) -> list[Task]:
        """At most `PAGE_SIZE` tasks with larger ids, with predictions, ordered by id."""
        # Unlike numbered pages, pages by id skip no task when tasks are added or removed meanwhile.
        filters = [filter_item("id", "greater", after_id)]
        if unlabeled_only:
            filters.append(filter_item("total_annotations", "equal", 0))
        return self._first_page(project, filters, Task.from_json)

    def list_by_id(self, project: int, ids: Sequence[int]) -> list[Task]:
        """The existing ones of at most `PAGE_SIZE` tasks, with predictions, ordered by id."""
        # No tab stores this query, so the web page never sees an operator that it does not know.
        return self._first_page(project, [filter_item("id", "in_list", list(ids))], Task.from_json)

    def list_annotated_after(self, project: int, after_id: int) -> list[dict[str, Any]]:
        """At most `PAGE_SIZE` annotated tasks with larger ids, as in Label Studio's JSON export."""
        filters = [
            filter_item("id", "greater", after_id),
            filter_item("total_annotations", "greater", 0),
        ]
        return self._first_page(project, filters, dict)

    def list_ids_in_view(self, project: int, view_id: int) -> list[int]:
        """The ids of the tasks in a tab of the Data Manager, in the order of the tab."""
        query = {"project": project, "view": view_id}
        return list(self._paginate(query, lambda item: int(item["id"])))

    def add(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        """Add tasks, each with its ``data``; returns their ids in the same order."""
        path, body = f"api/projects/{project}/import?return_task_ids=true", list(tasks)
        return self._connection.send("POST", path, body, lambda answer: list(answer["task_ids"]))

    def _paginate(self, query: Mapping[str, Any], parse: Callable[[Any], T]) -> Iterator[T]:
        query = {**query, "resolve_uri": "false"}  # addresses as they are in the data, not signed
        return self._connection.paginate("api/tasks/", query, ("tasks", "total"), parse)

    def _first_page(
        self,
        project: int,
        filters: Sequence[Mapping[str, Any]],
        parse: Callable[[Mapping[str, Any]], T],
    ) -> list[T]:
        selection = {"filters": match_all(*filters), "ordering": ["tasks:id"]}
        query = {
            "project": project,
            "query": json.dumps(selection),
            "fields": "all",  # with predictions and annotations
            "resolve_uri": "false",
            "page": 1,
            "page_size": PAGE_SIZE,
        }
        answer = self._connection.request_json(
            "GET", "api/tasks/", query=query, timeout_seconds=SLOW_READ_TIMEOUT_SECONDS
        )
        return self._connection.parse_answer(
            lambda answer: list(map(parse, answer["tasks"])), answer, "api/tasks/"
        )


class Predictions(Resource):
    """Reads, stores and changes predictions."""

    def list_for_project(self, project: int) -> list[StoredPrediction]:
        """All predictions of a project, with their regions."""
        return self._list(
            f"api/predictions/?project={project}",
            StoredPrediction.from_json,
            timeout_seconds=SLOW_READ_TIMEOUT_SECONDS,
        )

    def count_by_version(self, project: int) -> dict[str, int]:
        """The number of stored predictions of each version."""
        return self._connection.get(
            f"api/projects/{project}/model-versions/",
            lambda answer: {str(name): int(count) for name, count in answer.items()},
        )

    def retrieve(self, project: int, tasks: Sequence[int] = ()) -> None:
        """Make the first backend predict these tasks, or all, that lack the served version."""
        # Label Studio reports success even if it stored nothing: check with `list_for_project`.
        path = f"api/dm/actions/?id=retrieve_tasks_predictions&project={project}"
        selected = {"all": False, "included": list(tasks)} if tasks else {"all": True}
        self._connection.request_json(
            "POST",
            path,
            body={"selectedItems": selected},
            timeout_seconds=SLOW_READ_TIMEOUT_SECONDS,
        )

    def add(self, project: int, items: Sequence[Mapping[str, Any]]) -> int:
        """Store predictions, by ``task``, in one transaction; returns how many were stored.

        Depending on a feature flag, Label Studio skips predictions that break a rule of the
        labelling config, or refuses them all. It refuses all if one task does not exist.
        """
        path, body = f"api/projects/{project}/import/predictions", list(items)
        return self._connection.send("POST", path, body, lambda answer: int(answer["created"]))

    def update_score(self, prediction: int, score: float) -> None:
        """Change the score of a prediction; Label Studio hands out low scores first."""
        path = f"api/predictions/{prediction}/"
        self._connection.request_json("PATCH", path, body={"score": score})

    def remove(self, prediction: int) -> None:
        """Remove a prediction by its id."""
        self._connection.request_json("DELETE", f"api/predictions/{prediction}/")


class MLBackends(Resource):
    """Reads and changes ML backends."""

    def list_for_project(self, project: int) -> list[MLBackend]:
        """The backends of a project; Label Studio calls health and setup of each one first."""
        return self._list(f"api/ml/?project={project}", MLBackend.from_json)

    def add(
        self,
        project: int,
        url: str,  # as Label Studio reaches it
        title: str,  # the served version, or scores stay empty and uncertainty sampling is random
        *,
        login: tuple[str, str] | None = None,
    ) -> MLBackend:
        """Connect a backend: Label Studio calls its health and setup, and adds a webhook."""
        body = {
            "project": project,
            "url": url,
            "title": title,
            "is_interactive": True,  # asked for predictions while an annotator draws
            "extra_params": None,
            **_auth_fields(login),
        }
        return self._connection.send("POST", "api/ml/", body, MLBackend.from_json)

    def update(
        self,
        backend: MLBackend,
        *,
        url: str | None = None,
        title: str | None = None,
        login: tuple[str, str] | None = None,
        interactive: bool | None = None,
    ) -> MLBackend:
        """Change a backend; None leaves a setting. A project that names the title follows it."""
        # Label Studio checks health and setup with the fields of this request only: it fails
        # without a URL, and sends no login without a user. An empty password keeps the old one.
        old_login = (backend.username, "") if backend.auth_method == "BASIC_AUTH" else None
        body = {
            "project": backend.project,
            "url": backend.url if url is None else url,
            "title": backend.title if title is None else title,
            "is_interactive": backend.is_interactive if interactive is None else interactive,
            "extra_params": backend.extra_params,
            **_auth_fields(login or old_login),
        }
        return self._connection.send("PATCH", f"api/ml/{backend.id}", body, MLBackend.from_json)

    def remove(self, backend: int) -> None:
        """Disconnect a backend by its id; its predictions stay."""
        self._connection.request_json("DELETE", f"api/ml/{backend}")


class Webhooks(Resource):
    """Reads and changes webhooks."""

    def list_for_project(self, project: int) -> list[Webhook]:
        """The webhooks of a project, without those of the whole organisation."""
        return self._list(f"api/webhooks/?project={project}", Webhook.from_json)

    def list_for_all_projects(self) -> list[Webhook]:
        """The webhooks of the whole organisation, which get the events of every project."""
        every = self._list("api/webhooks/", Webhook.from_json)
        return [webhook for webhook in every if webhook.project is None]

    def add(self, project: int, url: str, *, headers: Mapping[str, str]) -> Webhook:
        """Add a webhook of a project that sends all events, as Label Studio does for a backend."""
        body = {
            "project": project,
            "url": url,
            "send_payload": True,
            "send_for_all_actions": True,
            "headers": dict(headers),
        }
        return self._connection.send("POST", "api/webhooks/", body, Webhook.from_json)

    def update(self, webhook: Webhook) -> Webhook:
        """Store the changed settings of a webhook; its project cannot change."""
        body = {
            "url": webhook.url,
            "is_active": webhook.is_active,
            "send_payload": webhook.sends_payload,
            "send_for_all_actions": webhook.sends_all_actions,
            "actions": list(webhook.actions),  # Label Studio removes them if the field is missing
            "headers": dict(webhook.headers),
        }
        path = f"api/webhooks/{webhook.id}/"
        return self._connection.send("PATCH", path, body, Webhook.from_json)

    def remove(self, webhook: int) -> None:
        """Remove a webhook by its id."""
        self._connection.request_json("DELETE", f"api/webhooks/{webhook}/")


class Views(Resource):
    """Reads and changes tabs."""

    def list_for_project(self, project: int) -> list[View]:
        """The tabs of a project, from left to right."""
        return self._list(f"api/dm/views/?project={project}", View.from_json)

    def create_or_update(
        self, project: int, title: str, filters: Filters, *, columns: Collection[str] = ()
    ) -> View:
        """Create or update the tab of a title: sorted by score, with additional columns."""
        existing = self.list_for_project(project)
        hidden = self._hidden_columns(project)
        if not existing:  # otherwise the page would not create its default tab with all tasks
            self._write(project, None, _tab("Default", match_all(), hidden, []))
        # Only in the full list: beside an open task, a further column leaves no room for the text.
        shown = {f"tasks:{column}" for column in columns}
        hidden["explore"] = [column for column in hidden["explore"] if column not in shown]
        same = next((view for view in existing if view.title == title), None)
        return self._write(project, same, _tab(title, filters, hidden, BY_SCORE))

    def refilter(self, project: int, view: View, filters: Filters) -> View:
        """Replace the filters of a tab; its title, order and columns stay."""
        kept = {"hiddenColumns": self._hidden_columns(project), **view.data}
        kept.pop("selectedItems", None)  # stored elsewhere, and not changed here
        return self._write(project, view, {**kept, "filters": filters})

    def _write(self, project: int, view: View | None, tab: Mapping[str, Any]) -> View:
        body, path = {"project": project, "data": tab}, "api/dm/views/"
        if view is None:
            return self._connection.send("POST", path, body, View.from_json)
        return self._connection.send("PATCH", f"{path}{view.id}/", body, View.from_json)

    def _hidden_columns(self, project: int) -> dict[str, list[str]]:
        # In the full list and beside an open task. Without them the page shows every column, and
        # pushes the text out of sight.
        path = f"api/dm/columns/?project={project}"
        columns = self._connection.get(path, lambda answer: list(map(dict, answer["columns"])))
        return {
            place: [
                f"tasks:{'data.' if column.get('parent') == 'data' else ''}{column['id']}"
                for column in columns
                if not (column.get("visibility_defaults") or {}).get(place, True)
            ]
            for place in ("explore", "labeling")
        }


def _auth_fields(login: tuple[str, str] | None) -> dict[str, str]:
    if login is None:
        return {"auth_method": "NONE"}
    user, password = login
    return {"auth_method": "BASIC_AUTH", "basic_auth_user": user, "basic_auth_pass": password}


def _tab(
    title: str, filters: Filters, hidden: Mapping[str, list[str]], order: list[str]
) -> dict[str, Any]:
    return {  # the fields that the page itself writes for a tab
        "title": title,
        "type": "list",
        "target": "tasks",
        "hiddenColumns": dict(hidden),
        "filters": filters,
        "ordering": order,
    }
