"""Filters of the Data Manager that both Label Studio's server and its web page know.

The server of Label Studio 1.23.2 takes ``in_list`` and ``not_in_list``. Its web page does not:
while one tab of a project filters by them, nobody can open the project's Data Manager.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Filter = Mapping[str, Any]
Filters = Mapping[str, Any]  # "conjunction" and "items"

# What the page accepts (its error message lists them); another operator, "" included, breaks it.
PAGE_OPERATORS = frozenset(
    {
        *("equal", "not_equal", "less", "greater", "less_or_equal", "greater_or_equal"),
        *("in", "not_in", "empty", "contains", "not_contains", "regex"),
    }
)
MOST = 900  # items of one filter: SQLite refuses expressions that are 1,000 deep


def on(column: str, operator: str, value: Any, *, kind: str = "Number") -> dict[str, Any]:
    """Filter by a column of the Data Manager.

    Args:
        column: Its name, such as ``id``.
        operator: How to compare.
        value: What to compare with.
        kind: Type of the column.

    Returns:
        One item of a filter.
    """
    name = f"filter:tasks:{column}"
    return {"filter": name, "operator": operator, "type": kind, "value": value}


def all_of(*items: Filter) -> dict[str, Any]:
    """A filter that shows the tasks which pass every item; all tasks where there is no item."""
    return {"conjunction": "and", "items": list(items)}


def tasks_of(ids: Iterable[int]) -> dict[str, Any]:
    """A filter that shows some tasks.

    Args:
        ids: Of the tasks; only the first `MOST` are shown.

    Returns:
        One item per task, for the page knows no list.
    """
    chosen = list(ids)[:MOST] or [0]  # no item at all would show all tasks, and no task has id 0
    return {"conjunction": "or", "items": [on("id", "equal", one) for one in chosen]}


def unknown_operators(filters: Filters) -> list[str]:
    """The operators of a filter that the page does not know.

    Args:
        filters: As the API returns them; empty for a tab without.

    Returns:
        Each once, in order of first use.
    """
    found = (_operator(one) for item in _items(filters) for one in _with_child(item))
    return list(dict.fromkeys(one for one in found if one not in PAGE_OPERATORS))


def without_lists(filters: Filters) -> dict[str, Any] | None:
    """The same filter, with an item per value in place of a list of numbers.

    Args:
        filters: As the API returns them.

    Returns:
        A filter that selects the same tasks with operators that the page knows. None where there
        is no such filter: a list beside other conditions, an empty one, one of anything but
        numbers, another unknown operator, or more than `MOST` items.
    """
    items, conjunction = _items(filters), str(filters.get("conjunction"))
    if len(items) == 1:  # the conjunction joins nothing, and so may be the one that is needed
        conjunction = "and" if _operator(items[0]) == "not_in_list" else "or"
    rewritten: list[Filter] = []
    for item in items:
        match _operator(item), item.get("value"), conjunction:
            case "in_list", [*values], _ if conjunction == "or" or len(values) == 1:
                operator = "equal"
            case "not_in_list", [*values], _ if conjunction == "and" or len(values) == 1:
                operator = "not_equal"
            case _:
                rewritten.append(item)
                continue
        # Of a text or a list, "equal" may mean something else. An empty list lets none or all
        # through, which no number of items says.
        if item.get("type") != "Number" or not values:
            return None
        rewritten += [{**item, "operator": operator, "value": value} for value in values]
    found = {"conjunction": conjunction, "items": rewritten}
    return None if len(rewritten) > MOST or unknown_operators(found) else found


def _items(filters: Filters) -> Sequence[Filter]:
    """The items of a filter."""
    items: Sequence[Filter] = filters.get("items") or ()
    return items


def _operator(item: Filter) -> str:
    """How an item compares."""
    return str(item.get("operator", ""))


def _with_child(item: Filter) -> list[Filter]:
    """An item, and the one it is joined with."""
    child = item.get("child_filter")
    return [item, child] if child else [item]
