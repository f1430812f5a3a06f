"""Lengths of entities in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.ner.length_buckets import length_bucket
from tagalong.ner.words import overlapping_words, word_offsets


@given(st.text(), st.data())
def test_length_is_the_number_of_words_touched(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    if start == end:
        return
    first, last = overlapping_words(word_offsets(text), start, end)
    assert length_bucket(text, start, end) == {0: "1", 1: "1", 2: "2"}.get(last - first, "3+")


@given(st.lists(st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1), min_size=1))
def test_tokens_between_blanks_are_counted(tokens: list[str]) -> None:
    text = "a " + " \n".join(tokens) + " b"
    expected = {1: "1", 2: "2"}.get(len(tokens), "3+")
    assert length_bucket(text, 2, len(text) - 2, "blanks") == expected


@pytest.mark.parametrize("text", ["IL-2", "5-HT", "Na+/K+", "5'"])
def test_a_hyphen_is_a_word_and_no_token(text: str) -> None:
    assert length_bucket(text, 0, len(text)) != "1"
    assert length_bucket(text, 0, len(text), "blanks") == "1"
