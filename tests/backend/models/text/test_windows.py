"""Windows: partition of the words, capacity and context."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.models.text.windows import plan_windows

LENGTHS = st.lists(st.integers(1, 12), max_size=200)


@given(lengths=LENGTHS, capacity=st.integers(40, 90), context=st.integers(0, 14))
def test_every_word_is_owned_once_and_no_window_overflows(lengths, capacity, context):
    windows = plan_windows(lengths, capacity=capacity, context=context)
    owned = [word for window in windows for word in window.owned_words]
    assert owned == list(range(len(lengths)))
    for window in windows:
        read, owned = window.words, window.owned_words
        assert read.start <= owned.start < owned.stop <= read.stop
        assert sum(lengths[read.start : read.stop]) <= capacity


@given(lengths=LENGTHS, capacity=st.integers(40, 90), context=st.integers(0, 14))
def test_owned_words_have_context(lengths, capacity, context):
    longest = max(lengths, default=0)
    for window in plan_windows(lengths, capacity=capacity, context=context):
        read, owned = window.words, window.owned_words
        left = sum(lengths[read.start : owned.start])
        right = sum(lengths[owned.stop : read.stop])
        # One more word on that side would exceed the context.
        assert read.start == 0 or left > context - longest
        assert read.stop == len(lengths) or right > context - longest


@given(lengths=LENGTHS)
def test_short_text_is_one_window(lengths):
    windows = plan_windows(lengths, capacity=max(1, sum(lengths)), context=0)
    assert len(windows) == bool(lengths)


def test_context_larger_than_the_window_is_refused():
    with pytest.raises(ValueError, match="context"):
        plan_windows([1], capacity=10, context=5)
