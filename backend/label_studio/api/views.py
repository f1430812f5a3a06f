"""The tabs of the Data Manager."""

from collections.abc import Collection, Mapping
from typing import Any

from tagalong.backend.label_studio.api.connection import Connection, list_parser
from tagalong.backend.label_studio.api.filters import Filters, all_of
from tagalong.backend.label_studio.api.objects import View

SCORE = "predictions_score"
BY_SCORE = [f"tasks:{SCORE}"]  # lowest first


class Views:
    """Reads and changes tabs. Every method raises LabelStudioError where it is told no.

    Args:
        connection: To the Label Studio.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list_for_project(self, project: int) -> list[View]:
        """The tabs of a project, from the left."""
        return self._connection.get(f"api/dm/views/?project={project}", list_parser(View.from_json))

    def create_or_update(
        self, project: int, title: str, filters: Filters, *, columns: Collection[str] = ()
    ) -> View:
        """Make a tab that shows tasks by their scores, lowest first.

        Args:
            project: Its id.
            title: Of the tab; a tab that already has it is changed.
            filters: Which tasks to show.
            columns: To show beside those that every tab shows.

        Returns:
            The tab.
        """
        there = self.list_for_project(project)
        hidden = self._hidden(project)
        if not there:  # else the page would not make its own first tab, which shows all tasks
            self._make(project, _tab("Default", all_of(), hidden, []))
        # In the narrow list beside an open task, another column would leave no room for the text.
        shown = {f"tasks:{column}" for column in columns}
        hidden["explore"] = [column for column in hidden["explore"] if column not in shown]
        tab = _tab(title, filters, hidden, BY_SCORE)
        same = next((view for view in there if view.title == title), None)
        return self._make(project, tab) if same is None else self._change(project, same, tab)

    def refilter(self, project: int, view: View, filters: Filters) -> View:
        """Give a tab other filters; its title, order and columns stay.

        Args:
            project: Its id.
            view: The tab.
            filters: Which tasks to show.

        Returns:
            The tab as it is then.
        """
        kept = {"hiddenColumns": self._hidden(project), **view.data}
        kept.pop("selectedItems", None)  # kept elsewhere, and not changed here
        return self._change(project, view, {**kept, "filters": filters})

    def _make(self, project: int, tab: Mapping[str, Any]) -> View:
        """Add a tab at the right."""
        body = {"project": project, "data": tab}
        return self._connection.send("POST", "api/dm/views/", body, View.from_json)

    def _change(self, project: int, view: View, tab: Mapping[str, Any]) -> View:
        """Change all of a tab."""
        body = {"project": project, "data": tab}
        return self._connection.send("PATCH", f"api/dm/views/{view.id}/", body, View.from_json)

    def _hidden(self, project: int) -> dict[str, list[str]]:
        """The columns that a new tab hides, in its list of tasks and beside an open task.

        Without them the page shows every column, and the text is out of sight at the right.
        """
        path = f"api/dm/columns/?project={project}"
        columns = self._connection.get(path, lambda answer: list(map(dict, answer["columns"])))
        places = ("explore", "labeling")
        return {
            place: [
                _name(column)
                for column in columns
                if not (column.get("visibility_defaults") or {}).get(place, True)
            ]
            for place in places
        }


def _name(column: Mapping[str, Any]) -> str:
    """A column as tabs name it."""
    is_data = column.get("parent") == "data"
    return f"tasks:{'data.' if is_data else ''}{column['id']}"


def _tab(
    title: str, filters: Filters, hidden: Mapping[str, list[str]], order: list[str]
) -> dict[str, Any]:
    """A tab as the page itself makes it."""
    return {
        "title": title,
        "type": "list",
        "target": "tasks",
        "hiddenColumns": dict(hidden),
        "filters": filters,
        "ordering": order,
    }
