"""Lengths of entities in words."""

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
