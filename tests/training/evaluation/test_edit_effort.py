"""What a correction costs: no more than starting over, and nothing where nothing is wrong."""

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
def test_nobody_does_more_than_delete_all_and_start_from_nothing(
    gold: set[Span], predicted: set[Span]
) -> None:
    counted = compute_edit_effort(gold, predicted)
    right = len(gold & predicted)
    assert counted.total_actions <= len(gold) + len(predicted) - 2 * right
    assert (counted.total_actions == 0) == (gold == predicted)


def least(gold: tuple[Span, ...], predicted: tuple[Span, ...]) -> int:
    """Actions of the best plan of all: each is added, or made of one that was predicted."""
    if not gold:
        return len(predicted)
    first, *others = gold
    plans = [1 + least(tuple(others), predicted)]
    for place, made in enumerate(predicted):
        took = (made.label != first.label) + (made.start != first.start) + (made.end != first.end)
        plans.append(took + least(tuple(others), predicted[:place] + predicted[place + 1 :]))
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
def test_nobody_can_do_with_less(gold: set[Span], predicted: set[Span]) -> None:
    assert compute_edit_effort(gold, predicted).total_actions == least(
        tuple(gold), tuple(predicted)
    )


def test_of_two_fragments_one_is_stretched_and_one_deleted() -> None:
    counted = compute_edit_effort([Span(0, 26, "A")], [Span(0, 6, "A"), Span(7, 18, "A")])
    assert counted.action_counts == {"add": 0, "delete": 1, "relabel": 0, "move an end": 1}


@given(st.lists(st.tuples(regions, regions), max_size=3))
def test_the_effort_of_documents_is_that_of_each_together(pairs: list) -> None:
    efforts = [compute_edit_effort(*pair) for pair in pairs]
    together = sum(efforts, EditEffort())
    assert together.total_actions == sum(one.total_actions for one in efforts)
    assert together.from_scratch == sum(len(gold) for gold, _ in pairs)


@given(gold=regions, predicted=regions)
def test_what_is_added_less_what_is_deleted_is_what_is_more(
    gold: set[Span], predicted: set[Span]
) -> None:
    actions = compute_edit_effort(gold, predicted).action_counts
    assert actions["add"] - actions["delete"] == len(gold) - len(predicted)


@given(gold=regions)
def test_without_a_prediction_every_region_is_added(gold: set[Span]) -> None:
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
def test_each_mistake_is_put_right_the_short_way(predicted: Span, actions: dict[str, int]) -> None:
    counted = compute_edit_effort({Span(3, 9, "A")}, {predicted})
    assert counted.action_counts == {action: actions.get(action, 0) for action in EDIT_ACTIONS}
    assert counted.saved_share == 1 - sum(actions.values())
