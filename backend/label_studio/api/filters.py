"""Filters of the Data Manager that both Label Studio's server and its web page accept.

The server of Label Studio 1.23.2 accepts ``in_list`` and ``not_in_list``. Its web page does not:
while one tab of a project has such a filter, the project's Data Manager does not open.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Filter = Mapping[str, Any]
Filters = Mapping[str, Any]  # "conjunction" and "items"

# The page accepts these (its error message lists them); any other operator, "" included, breaks it.
PAGE_OPERATORS = frozenset(
    {
        *("equal", "not_equal", "less", "greater", "less_or_equal", "greater_or_equal"),
        *("in", "not_in", "empty", "contains", "not_contains", "regex"),
    }
)
MAX_FILTER_ITEMS = 900  # items of one filter: SQLite refuses expressions nested 1,000 deep


def filter_item(column: str, operator: str, value: Any, *, kind: str = "Number") -> dict[str, Any]:
    """Make one item of a filter on a column of the Data Manager, such as ``id``, of a type."""
    name = f"filter:tasks:{column}"
    return {"filter": name, "operator": operator, "type": kind, "value": value}


def match_all(*items: Filter) -> dict[str, Any]:
    """Make a filter for the tasks that pass every item; all tasks if there is no item."""
    return {"conjunction": "and", "items": list(items)}


def filter_by_ids(ids: Iterable[int]) -> dict[str, Any]:
    """Make a filter for the first `MAX_FILTER_ITEMS` of some task ids, with one item per task."""
    chosen = list(ids)[:MAX_FILTER_ITEMS] or [
        0
    ]  # no item would select all tasks, and no task has id 0
    return {"conjunction": "or", "items": [filter_item("id", "equal", one) for one in chosen]}


def unknown_operators(filters: Filters) -> list[str]:
    """The operators of a filter that the page does not accept, each once, in order of use."""
    both = (one for item in _items(filters) for one in (item, item.get("child_filter")))
    found = (_operator(one) for one in both if one)
    return list(dict.fromkeys(one for one in found if one not in PAGE_OPERATORS))


def without_lists(filters: Filters) -> dict[str, Any] | None:
    """Replace each list of numbers in a filter by one item per number.

    Returns:
        A filter that selects the same tasks with operators that the page accepts. None if there is
        none. That is so for a list beside other conditions, an empty list, values that are not
        numbers, another unknown operator, or more than `MAX_FILTER_ITEMS` items.
    """
    items, conjunction = _items(filters), str(filters.get("conjunction"))
    if len(items) == 1:  # a single item, so the conjunction can be chosen
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
        # "equal" means something else for texts and lists. An empty list selects no task or all
        # tasks, which items cannot express.
        if item.get("type") != "Number" or not values:
            return None
        rewritten += [{**item, "operator": operator, "value": value} for value in values]
    found = {"conjunction": conjunction, "items": rewritten}
    return None if len(rewritten) > MAX_FILTER_ITEMS or unknown_operators(found) else found


def _items(filters: Filters) -> Sequence[Filter]:
    return filters.get("items") or ()


def _operator(item: Filter) -> str:
    return str(item.get("operator", ""))
