"""The tasks of projects."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from tagalong.backend.label_studio.api.connection import (
    PAGE_SIZE,
    SLOW_READ_TIMEOUT_SECONDS,
    Resource,
)
from tagalong.backend.label_studio.api.filters import all_of, on
from tagalong.backend.label_studio.api.objects import Task

T = TypeVar("T")


class Tasks(Resource):
    """Reads and adds tasks."""

    def iterate_for_project(self, project: int) -> Iterator[Task]:
        """The tasks of a project without predictions, in the order of their ids."""
        query = {"project": project, "resolve_uri": "false"}
        return self._connection.paginate("api/tasks/", query, "tasks", "total", Task.from_json)

    def list_after(
        self, project: int, after_id: int = 0, *, unlabeled_only: bool = False
    ) -> list[Task]:
        """One page of tasks with their predictions, in the order of their ids.

        Args:
            project: Project id.
            after_id: Only tasks with a larger id.
            unlabeled_only: Only tasks without annotations.

        Returns:
            At most `PAGE_SIZE` tasks; fewer on the last page.
        """
        # Unlike numbered pages, pages by id skip no task when tasks are added or removed meanwhile.
        filters = [on("id", "greater", after_id)]
        if unlabeled_only:
            filters.append(on("total_annotations", "equal", 0))
        return self._first_page(project, filters, Task.from_json)

    def list_by_id(self, project: int, ids: Sequence[int]) -> list[Task]:
        """The existing ones of at most `PAGE_SIZE` tasks, with predictions, ordered by id."""
        # No tab stores this query, so the web page never sees an operator that it does not know.
        return self._first_page(project, [on("id", "in_list", list(ids))], Task.from_json)

    def list_annotated_after(self, project: int, after_id: int = 0) -> list[dict[str, Any]]:
        """One page of annotated tasks, in the order of their ids.

        Args:
            project: Project id.
            after_id: Only tasks with a larger id.

        Returns:
            At most `PAGE_SIZE` tasks with annotations, in the format of Label Studio's JSON export.
        """
        filters = [on("id", "greater", after_id), on("total_annotations", "greater", 0)]
        return self._first_page(project, filters, dict)

    def list_ids_in_view(self, project: int, view_id: int) -> list[int]:
        """The ids of the tasks in a tab of the Data Manager, in the order of the tab."""
        query = {"project": project, "view": view_id, "resolve_uri": "false"}
        return list(self._connection.paginate("api/tasks/", query, "tasks", "total", _read_id))

    def add(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        """Add tasks, each with its ``data``; returns their ids in the same order."""
        path = f"api/projects/{project}/import?return_task_ids=true"
        return self._connection.send(
            "POST", path, list(tasks), lambda answer: list(answer["task_ids"])
        )

    def _first_page(
        self,
        project: int,
        filters: Sequence[Mapping[str, Any]],
        parse: Callable[[Mapping[str, Any]], T],
    ) -> list[T]:
        selection = {"filters": all_of(*filters), "ordering": ["tasks:id"]}
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


def _read_id(item: Mapping[str, Any]) -> int:
    return int(item["id"])
