"""Words: their definition, and positions inside them."""

from hypothesis import given

from tagalong.ner.words import is_inside_word, word_offsets
from tests.odd_documents import texts


@given(texts)
def test_is_inside_word(text: str) -> None:
    words = word_offsets(text)
    for position in range(-1, len(text) + 2):
        over = any(start < position < end for start, end in words)
        assert is_inside_word(text, position) == over
