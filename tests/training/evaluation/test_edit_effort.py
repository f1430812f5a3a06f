"""Edit effort of corrections: bounds and minimum."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.ner.document import Span
from tagalong.training.evaluation.edit_effort import EDIT_ACTIONS, EditEffort, compute_edit_effort

spans = st.builds(
    lambda start, length, label: Span(start, start + length, label),
    start=st.integers(0, 30),
    length=st.integers(1, 6),
    label=st.sampled_from("AB"),
)
regions = st.sets(spans, max_size=8)


@given(gold=regions, predicted=regions)
def test_effort_is_at_most_deleting_and_adding_all(gold: set[Span], predicted: set[Span]) -> None:
    counted = compute_edit_effort(gold, predicted)
    right = len(gold & predicted)
    assert counted.total_actions <= len(gold) + len(predicted) - 2 * right
    assert (counted.total_actions == 0) == (gold == predicted)


def minimum_effort(gold: tuple[Span, ...], predicted: tuple[Span, ...]) -> int:
    """Minimum number of actions: each gold span is added or made from a predicted one."""
    if not gold:
        return len(predicted)
    first, *others = gold
    plans = [1 + minimum_effort(tuple(others), predicted)]
    for place, made in enumerate(predicted):
        took = (made.label != first.label) + (made.start != first.start) + (made.end != first.end)
        plans.append(
            took + minimum_effort(tuple(others), predicted[:place] + predicted[place + 1 :])
        )
    return min(plans)


few = st.sets(
    st.builds(
        lambda start, length, label: Span(start, start + length, label),
        start=st.integers(0, 4),
        length=st.integers(1, 4),
        label=st.sampled_from("AB"),
    ),
    max_size=5,
)


@given(gold=few, predicted=few)
def test_effort_is_minimal(gold: set[Span], predicted: set[Span]) -> None:
    assert compute_edit_effort(gold, predicted).total_actions == minimum_effort(
        tuple(gold), tuple(predicted)
    )


def test_two_fragments_need_one_change_and_one_deletion() -> None:
    counted = compute_edit_effort([Span(0, 26, "A")], [Span(0, 6, "A"), Span(7, 18, "A")])
    assert counted.action_counts == {"add": 0, "delete": 1, "relabel": 0, "move an end": 1}


@given(st.lists(st.tuples(regions, regions), max_size=3))
def test_effort_sums_over_documents(pairs: list) -> None:
    efforts = [compute_edit_effort(*pair) for pair in pairs]
    together = sum(efforts, EditEffort())
    assert together.total_actions == sum(one.total_actions for one in efforts)
    assert together.from_scratch == sum(len(gold) for gold, _ in pairs)


@given(gold=regions, predicted=regions)
def test_additions_minus_deletions_is_the_span_difference(
    gold: set[Span], predicted: set[Span]
) -> None:
    actions = compute_edit_effort(gold, predicted).action_counts
    assert actions["add"] - actions["delete"] == len(gold) - len(predicted)


@given(gold=regions)
def test_without_predictions_every_region_is_added(gold: set[Span]) -> None:
    counted = compute_edit_effort(gold, set())
    assert (
        counted.action_counts["add"] == counted.total_actions == counted.from_scratch == len(gold)
    )
    assert counted.saved_share == 0.0
    assert counted.per_hundred() == (100.0 if gold else 0.0)


@pytest.mark.parametrize(
    ("predicted", "actions"),
    [
        (Span(3, 9, "A"), {}),
        (Span(3, 9, "B"), {"relabel": 1}),
        (Span(3, 8, "A"), {"move an end": 1}),
        (Span(2, 10, "A"), {"move an end": 2}),
        (Span(3, 8, "B"), {"relabel": 1, "move an end": 1}),
        (Span(2, 10, "B"), {"delete": 1, "add": 1}),
        (Span(20, 22, "A"), {"delete": 1, "add": 1}),
    ],
)
def test_each_error_type_has_its_shortest_correction(
    predicted: Span, actions: dict[str, int]
) -> None:
    counted = compute_edit_effort({Span(3, 9, "A")}, {predicted})
    assert counted.action_counts == {action: actions.get(action, 0) for action in EDIT_ACTIONS}
    assert counted.saved_share == 1 - sum(actions.values())
