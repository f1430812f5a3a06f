"""The retraining trigger with a fake clock."""

from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.retraining.trigger import DEBOUNCE_SECONDS as QUIET
from tagalong.backend.retraining.trigger import MAX_WAIT_SECONDS as AT_MOST
from tagalong.backend.retraining.trigger import Debouncer
from tagalong.backend.storage.project_key import ProjectKey

# The same number in two Label Studios.
PROJECT, OTHER = ProjectKey(7, 1795378435), ProjectKey(7, 1795378436)


def watch(after: int, clock: list[float]) -> Debouncer:
    return Debouncer(after, clock=lambda: clock[0])


def test_many_events_start_one_training() -> None:
    clock = [0.0]
    looking = watch(5, clock)
    for event in range(1, 10_001):  # within a minute
        clock[0] = event * 60 / 10_000
        assert not looking.is_due(PROJECT, event, event)
    clock[0] += QUIET
    assert looking.is_due(PROJECT, 10_000, 10_000)
    looking.reset(PROJECT)
    assert not looking.is_due(PROJECT, 0, 0)


def test_endless_annotations_start_a_training_eventually() -> None:
    clock, due = [0.0], []
    looking = watch(5, clock)
    for event in range(1, 1000):
        clock[0] = float(event)
        if looking.is_due(PROJECT, event, event):
            due.append(clock[0])
            break
    assert due == [5 + AT_MOST]


@given(
    after=st.integers(0, 50),
    counts=st.lists(st.integers(0, 60), max_size=30),
    waits=st.lists(st.floats(0, 1000), min_size=30, max_size=30),
)
def test_too_few_annotations_never_start_a_training(
    after: int, counts: list[int], waits: list[float]
) -> None:
    clock = [0.0]
    looking = watch(after, clock)
    for last, (count, wait) in enumerate(zip(counts, waits, strict=False), start=1):
        clock[0] += wait
        if looking.is_due(PROJECT, count, last):
            assert after
            assert count >= after


def test_projects_are_triggered_independently() -> None:
    clock = [0.0]
    looking = watch(1, clock)
    assert not looking.is_due(PROJECT, 1, 1)
    clock[0] = QUIET - 1
    assert not looking.is_due(OTHER, 1, 2)
    clock[0] = QUIET
    assert looking.is_due(PROJECT, 1, 1)
    assert not looking.is_due(OTHER, 1, 2)
