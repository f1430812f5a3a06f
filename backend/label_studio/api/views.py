"""The tabs of the Data Manager."""

from collections.abc import Collection, Mapping
from typing import Any

from tagalong.backend.label_studio.api.connection import Resource, list_parser
from tagalong.backend.label_studio.api.filters import Filters, all_of
from tagalong.backend.label_studio.api.objects import View

SCORE = "predictions_score"
BY_SCORE = [f"tasks:{SCORE}"]  # lowest first


class Views(Resource):
    """Reads and changes tabs."""

    def list_for_project(self, project: int) -> list[View]:
        """The tabs of a project, from left to right."""
        return self._connection.get(f"api/dm/views/?project={project}", list_parser(View.from_json))

    def create_or_update(
        self, project: int, title: str, filters: Filters, *, columns: Collection[str] = ()
    ) -> View:
        """Create a tab that sorts tasks by score, lowest first, or update the tab of that title.

        Args:
            project: Project id.
            title: Title of the tab.
            filters: Filters of the tab.
            columns: Columns to show in addition to the default ones.
        """
        existing = self.list_for_project(project)
        hidden = self._hidden(project)
        if not existing:  # otherwise the page would not create its default tab with all tasks
            self._make(project, _tab("Default", all_of(), hidden, []))
        # Only in the full list: beside an open task, a further column leaves no room for the text.
        shown = {f"tasks:{column}" for column in columns}
        hidden["explore"] = [column for column in hidden["explore"] if column not in shown]
        tab = _tab(title, filters, hidden, BY_SCORE)
        same = next((view for view in existing if view.title == title), None)
        return self._make(project, tab) if same is None else self._change(project, same, tab)

    def refilter(self, project: int, view: View, filters: Filters) -> View:
        """Replace the filters of a tab; its title, order and columns stay."""
        kept = {"hiddenColumns": self._hidden(project), **view.data}
        kept.pop("selectedItems", None)  # stored elsewhere, and not changed here
        return self._change(project, view, {**kept, "filters": filters})

    def _make(self, project: int, tab: Mapping[str, Any]) -> View:
        body = {"project": project, "data": tab}
        return self._connection.send("POST", "api/dm/views/", body, View.from_json)

    def _change(self, project: int, view: View, tab: Mapping[str, Any]) -> View:
        body = {"project": project, "data": tab}
        return self._connection.send("PATCH", f"api/dm/views/{view.id}/", body, View.from_json)

    def _hidden(self, project: int) -> dict[str, list[str]]:
        """The columns that a new tab hides, in the full list and beside an open task."""
        # Without them the page shows every column, and pushes the text out of sight.
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
    """The name of a column in a tab."""
    is_data = column.get("parent") == "data"
    return f"tasks:{'data.' if is_data else ''}{column['id']}"


def _tab(
    title: str, filters: Filters, hidden: Mapping[str, list[str]], order: list[str]
) -> dict[str, Any]:
    """The fields that the page itself writes for a tab."""
    return {
        "title": title,
        "type": "list",
        "target": "tasks",
        "hiddenColumns": dict(hidden),
        "filters": filters,
        "ordering": order,
    }
