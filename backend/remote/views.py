"""The tabs of the Data Manager."""

from collections.abc import Sequence
from typing import Any

from backend.remote.connection import Connection, list_of
from backend.remote.objects import View
from backend.remote.tasks import in_list


class Views:
    """Reads and changes tabs. Every method raises LabelStudioError where it is told no.

    Args:
        connection: To the Label Studio.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def of(self, project: int) -> list[View]:
        """The tabs of a project, from the left."""
        return self._connection.read(f"api/dm/views/?project={project}", list_of(View.from_json))

    def show(self, project: int, title: str, tasks: Sequence[int]) -> View:
        """Have a tab show some tasks by their scores, lowest first.

        Args:
            project: Its id.
            title: Of the tab; one that has it already is changed.
            tasks: Their ids.

        Returns:
            The tab.
        """
        data = {
            "title": title,
            "filters": {"conjunction": "and", "items": [in_list(tasks)]},
            "ordering": ["tasks:predictions_score"],
        }
        there = next((view for view in self.of(project) if view.title == title), None)
        body: dict[str, Any] = {"project": project, "data": data}
        if there is None:
            return self._connection.send("POST", "api/dm/views/", body, View.from_json)
        return self._connection.send("PATCH", f"api/dm/views/{there.id}/", body, View.from_json)
