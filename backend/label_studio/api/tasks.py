"""The tasks of Label Studio's projects."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from tagalong.backend.label_studio.api.connection import (
    PAGE_SIZE,
    SLOW_READ_TIMEOUT_SECONDS,
    Connection,
)
from tagalong.backend.label_studio.api.filters import all_of, on
from tagalong.backend.label_studio.api.objects import Task

T = TypeVar("T")


class Tasks:
    """Reads and adds tasks. Every method raises LabelStudioError where it is told no.

    Args:
        connection: To the Label Studio.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def iterate_for_project(self, project: int) -> Iterator[Task]:
        """The tasks of a project, page by page, in the order of their ids."""
        query = {"project": project, "resolve_uri": "false"}
        return self._connection.paginate("api/tasks/", query, "tasks", "total", Task.from_json)

    def list_after(
        self, project: int, after_id: int = 0, *, unlabeled_only: bool = False
    ) -> list[Task]:
        """A page of a project's tasks with their predictions, in the order of their ids.

        Pages that begin behind the last id of the one before miss nothing, whatever is added,
        removed or labelled meanwhile; numbered pages would.

        Args:
            project: Its id.
            after_id: Only tasks with a larger id.
            unlabeled_only: Only tasks that nobody has annotated.

        Returns:
            At most `PAGE_SIZE` tasks; fewer where there are no more.
        """
        filters = [on("id", "greater", after_id)]
        if unlabeled_only:
            filters.append(on("total_annotations", "equal", 0))
        return self._first_page(project, filters, Task.from_json)

    def list_by_id(self, project: int, ids: Sequence[int]) -> list[Task]:
        """Some tasks of a project with their predictions, in the order of their ids.

        Args:
            project: Its id.
            ids: Of at most `PAGE_SIZE` tasks.

        Returns:
            Those that are there.
        """
        # The web page, which does not know this operator, never sees it: no tab keeps this query.
        return self._first_page(project, [on("id", "in_list", list(ids))], Task.from_json)

    def list_annotated_after(self, project: int, after_id: int = 0) -> list[dict[str, Any]]:
        """A page of the tasks that somebody has annotated, in the order of their ids.

        Args:
            project: Its id.
            after_id: Only tasks with a larger id.

        Returns:
            At most `PAGE_SIZE` tasks as Label Studio's JSON export has them, with their annotations.
        """
        filters = [on("id", "greater", after_id), on("total_annotations", "greater", 0)]
        return self._first_page(project, filters, dict)

    def list_ids_in_view(self, project: int, view_id: int) -> list[int]:
        """The tasks that a tab of the Data Manager shows.

        Args:
            project: Its id.
            view_id: The number behind ``tab=`` in the address.

        Returns:
            Their ids, in its order.
        """
        query = {"project": project, "view": view_id, "resolve_uri": "false"}
        return list(self._connection.paginate("api/tasks/", query, "tasks", "total", _read_id))

    def add(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        """Add tasks.

        Args:
            project: Its id.
            tasks: Each with its ``data``.

        Returns:
            Their ids, in the same order.
        """
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
        """The first page of what passes all filters."""
        wanted = {
            "filters": all_of(*filters),
            "ordering": ["tasks:id"],
        }
        query = {
            "project": project,
            "query": json.dumps(wanted),
            "fields": "all",  # predictions too
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
    """The id of what has one."""
    return int(item["id"])
