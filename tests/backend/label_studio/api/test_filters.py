"""A filter without lists selects the same tasks, by operators that Label Studio's page knows."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.label_studio.api.filters import (
    MAX_FILTER_ITEMS,
    PAGE_OPERATORS,
    filter_by_ids,
    filter_item,
    match_all,
    unknown_operators,
    without_lists,
)

UNIVERSE = range(6)  # a task is its id here, and has twice as many annotations
COLUMNS = {"filter:tasks:id": 1, "filter:tasks:total_annotations": 2}


def passes(task: int, item: Mapping[str, Any]) -> bool:
    """Whether Label Studio's server selects a task."""
    held, value = COLUMNS[item["filter"]] * task, item["value"]
    child = item.get("child_filter")
    if child is not None and not passes(task, child):
        return False
    match item["operator"]:
        case "in_list":
            return held in value
        case "not_in_list":
            return held not in value
        case "equal":
            return bool(held == value)
        case "not_equal":
            return bool(held != value)
        case "greater":
            return bool(held > value)
    raise AssertionError(item)


def shown(filters: Mapping[str, Any]) -> list[int]:
    """The tasks that Label Studio's server selects: all tasks without items."""
    items = filters["items"]
    joined = {"and": all, "or": any}[filters["conjunction"]]
    return [t for t in UNIVERSE if not items or joined(passes(t, item) for item in items)]


columns = st.sampled_from(["id", "total_annotations"])
numbers = st.integers(0, 11)
plain = st.builds(filter_item, columns, st.sampled_from(["equal", "not_equal", "greater"]), numbers)
lists = st.builds(
    filter_item, columns, st.sampled_from(["in_list", "not_in_list"]), st.lists(numbers, max_size=4)
)
single = plain | lists
with_child = st.builds(lambda item, child: {**item, "child_filter": child}, single, single)
filters = st.fixed_dictionaries(
    {
        "conjunction": st.sampled_from(["and", "or"]),
        "items": st.lists(single | with_child, min_size=1, max_size=3),
    }
)


@given(filters)
def test_rewritten_filter_selects_the_same_tasks(filters: dict[str, Any]) -> None:
    found = without_lists(filters)
    if found is not None:
        assert unknown_operators(found) == []
        assert shown(found) == shown(filters)


@pytest.mark.parametrize("conjunction", ["and", "or"])
@pytest.mark.parametrize("operator", ["in_list", "not_in_list"])
@given(values=st.lists(numbers, min_size=1))
def test_single_list_filter_is_always_rewritten(
    conjunction: str, operator: str, values: list[int]
) -> None:
    filters = {"conjunction": conjunction, "items": [filter_item("id", operator, values)]}
    found = without_lists(filters)
    assert found is not None
    assert shown(found) == shown(filters)


@given(filters)
def test_supported_filters_are_unchanged(filters: dict[str, Any]) -> None:
    if not unknown_operators(filters) and len(filters["items"]) > 1:
        assert without_lists(filters) == filters


@given(st.lists(st.sampled_from(UNIVERSE), unique=True))
def test_filter_shows_only_the_given_tasks(ids: list[int]) -> None:
    ids = [one for one in ids if one]  # no task has id 0
    assert [task for task in shown(filter_by_ids(ids)) if task] == sorted(ids)
    assert unknown_operators(filter_by_ids(ids)) == []


def test_filter_length_stays_below_database_limit() -> None:
    ids = list(range(1, MAX_FILTER_ITEMS + 2))
    assert len(filter_by_ids(ids)["items"]) == MAX_FILTER_ITEMS
    assert without_lists(match_all(filter_item("id", "in_list", ids))) is None
    assert (
        without_lists(match_all(filter_item("id", "in_list", ids[:MAX_FILTER_ITEMS]))) is not None
    )


@pytest.mark.parametrize(
    "filters",
    [
        match_all(filter_item("id", "in_list", [1, 2]), filter_item("id", "greater", 1)),
        match_all(filter_item("data.site", "in_list", ["a", "b"], kind="String")),
        match_all(filter_item("id", "in_list", "1,2")),
        match_all(filter_item("id", "", 1)),
        match_all(
            {**filter_item("id", "equal", 1), "child_filter": filter_item("id", "in_list", [1])}
        ),
    ],
)
def test_filters_without_an_equivalent(filters: dict[str, Any]) -> None:
    assert set(unknown_operators(filters)) <= {"in_list", ""}
    assert unknown_operators(filters) != []
    assert without_lists(filters) is None


def test_tab_without_filters_has_no_unknown_filter() -> None:
    assert unknown_operators({}) == []
    assert "in_list" not in PAGE_OPERATORS
