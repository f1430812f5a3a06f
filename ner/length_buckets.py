"""Length buckets: entities of one word, of two, and of three or more."""

from collections.abc import Mapping
from typing import Literal, get_args

from tagalong.ner.words import count_words

LengthBucket = Literal["1", "2", "3+"]
LENGTH_BUCKETS: tuple[LengthBucket, ...] = get_args(LengthBucket)
LengthUnit = Literal["words", "blanks"]  # by the word rule, or of tokens between blanks
LENGTH_NAMES: Mapping[str, str] = {"1": "1 word", "2": "2 words", "3+": "3 words or more"}
SHORT_LENGTH_NAMES: Mapping[str, str] = {**LENGTH_NAMES, "3+": "3+ words"}  # for table columns
# Column names and notes of tables, by unit.
LENGTH_COLUMNS: Mapping[LengthUnit, Mapping[str, str]] = {
    "words": SHORT_LENGTH_NAMES,
    "blanks": {"1": "1 token", "2": "2 tokens", "3+": "3+ tokens"},
}
LENGTH_NOTES: Mapping[LengthUnit, str] = {
    "words": 'Lengths count words: "IL-2" has 3, because each mark is one. In scripts without '
    "blanks, each character is one.",
    "blanks": 'Lengths count tokens between blanks: "IL-2" is one.',
}


def length_bucket(text: str, start: int, end: int, unit: LengthUnit = "words") -> LengthBucket:
    """The bucket of ``text[start:end]`` by the number of words or tokens it touches.

    Words are those of the default rule.
    """
    if unit == "blanks":
        return word_count_bucket(len(text[start:end].split()))
    return word_count_bucket(count_words(text, start, end))


def word_count_bucket(words: int) -> LengthBucket:
    """The bucket of an entity of so many words; white space alone counts as one word."""
    return LENGTH_BUCKETS[min(max(words, 1), len(LENGTH_BUCKETS)) - 1]
