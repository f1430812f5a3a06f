"""What a correction costs: no more than starting over, and nothing where nothing is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner.document import Span
from training.effort import ACTIONS, Effort, effort_of
from training.mistakes import find_mistakes

spans = st.builds(
    lambda start, length, label: Span(start, start + length, label),
    start=st.integers(0, 30),
    length=st.integers(1, 6),
    label=st.sampled_from("AB"),
)
regions = st.sets(spans, max_size=8)


def effort(gold: set[Span], predicted: set[Span]) -> Effort:
    return effort_of(find_mistakes(gold, predicted), gold=len(gold))


@given(gold=regions, predicted=regions)
def test_nobody_does_more_than_delete_all_and_start_from_nothing(
    gold: set[Span], predicted: set[Span]
) -> None:
    counted = effort(gold, predicted)
    right = len(gold & predicted)
    assert counted.total <= len(gold) + len(predicted) - 2 * right
    assert (counted.total == 0) == (gold == predicted)


@given(gold=regions, predicted=regions)
def test_what_is_added_less_what_is_deleted_is_what_is_more(
    gold: set[Span], predicted: set[Span]
) -> None:
    actions = effort(gold, predicted).actions
    assert actions["add"] - actions["delete"] == len(gold) - len(predicted)


@given(gold=regions)
def test_without_a_prediction_every_region_is_added(gold: set[Span]) -> None:
    counted = effort(gold, set())
    assert counted.actions["add"] == counted.total == counted.from_nothing == len(gold)
    assert counted.saved == 0.0
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
    counted = effort({Span(3, 9, "A")}, {predicted})
    assert counted.actions == {action: actions.get(action, 0) for action in ACTIONS}
    assert counted.saved == 1 - sum(actions.values())
