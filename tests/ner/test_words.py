"""Words: their rules, and positions inside them."""

import re
from itertools import pairwise
from pathlib import Path
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.ner.words import (
    CHARACTERS,
    FILLERS,
    LATIN_WORD,
    OTHER_THAN_LATIN,
    PARTS,
    PLAIN,
    SCRIPT_CLASSES,
    SCRIPT_WORD,
    SCRIPTS,
    WORD_RULES,
    WordRule,
    count_words,
    is_inside_word,
    overlapping_words,
    trim_to_words,
    word_offsets,
)
from tests.odd_documents import texts

SAMPLES = Path(__file__).parents[1] / "samples"
# Letters of many scripts, digits, marks, joiners, and characters that belong to no word.
SCRIPT_PIECES = (
    *(
        "aspirin",
        "IL2",
        "TNFα",
        "Iкb",
        "µg",
        "x_1",
        "高血压",
        "ひらカナー",
        "고혈압",
        "\u1112\u1161\u11ab",
    ),
    *("ความดัน", "उच्च", "क्\u200dष", "می\u200cخواهم", "препарат", "é", "e\u0301", "\u0301", "5"),
    *(
        "\u200d",
        "\u200c",
        "\u200b",
        "\ufeff",
        "\xad",
        "\0",
        "\ue000",
        "葛\U000e0100",
        "👩\u200d⚕️",
        "-",
    ),
)
any_text = st.lists(
    st.sampled_from((*SCRIPT_PIECES, " ", "\n")) | st.characters(), max_size=12
).map("".join)
rules = st.sampled_from([*WORD_RULES.values()])


def words_of(text: str, rule: WordRule = SCRIPTS) -> list[str]:
    return [text[start:end] for start, end in rule.find_words(text)]


@given(texts | any_text)
def test_is_inside_word(text: str) -> None:
    words = word_offsets(text)
    for position in range(-1, len(text) + 2):
        over = any(start < position < end for start, end in words)
        assert is_inside_word(words, position) == over


@given(any_text, rules)
def test_words_are_in_order_and_apart(text: str, rule: WordRule) -> None:
    words = rule.find_words(text)
    assert all(start < end for start, end in words)
    assert all(before[1] <= after[0] for before, after in pairwise(words))
    assert all(not text[start:end].isspace() for start, end in words)


@given(any_text, st.sampled_from([SCRIPTS, PARTS, CHARACTERS]))
def test_only_blanks_format_and_control_characters_are_in_no_word(
    text: str, rule: WordRule
) -> None:
    covered = bytearray(len(text))
    for start, end in rule.find_words(text):
        covered[start:end] = b"\1" * (end - start)
    without = {char for char, inside in zip(text, covered, strict=True) if not inside}
    assert {
        char
        for char in without
        if not char.isspace() and category(char) not in ("Cc", "Cf") and char not in FILLERS
    } == set()
    for start, end in rule.find_words(text):  # none is at an edge of a prediction
        for edge in (text[start], text[end - 1]):
            assert not edge.isspace()
            assert category(edge) not in ("Cc", "Cf")
            assert edge not in FILLERS


@given(any_text, st.sampled_from([PARTS, CHARACTERS]))
def test_finer_rules_divide_the_words_of_the_default(text: str, finer: WordRule) -> None:
    words, pieces = word_offsets(text), finer.find_words(text)
    assert {start for start, _ in words} <= {start for start, _ in pieces}
    assert {end for _, end in words} <= {end for _, end in pieces}


@given(any_text, st.data())
def test_count_words(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    first, last = overlapping_words(word_offsets(text), start, end)
    assert count_words(text, start, end) == last - first


def test_samples_in_english_have_the_words_of_earlier_releases() -> None:
    files = [path for path in SAMPLES.rglob("*") if path.suffix in (".json", ".jsonl", ".conll")]
    assert files
    for path in files:
        text = path.read_text(encoding="utf-8")
        if OTHER_THAN_LATIN.search(text) is None:
            assert SCRIPTS.find_words(text) == PLAIN.find_words(text)


@given(st.text(st.from_regex(re.compile(r"\A[^\W]\Z")) | st.characters(max_codepoint=0x2BFF)))
def test_the_fast_pattern_finds_the_same_words(text: str) -> None:
    text = OTHER_THAN_LATIN.sub("", text)
    by_class = [match.span() for match in SCRIPT_WORD.finditer(text.translate(SCRIPT_CLASSES))]
    assert [match.span() for match in LATIN_WORD.finditer(text)] == by_class


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("服用aspirin后gastric ulcer。", ["服", "用", "aspirin", "后", "gastric", "ulcer", "。"]),
        ("2型糖尿病", ["2", "型", "糖", "尿", "病"]),
        ("ไข้สูง", ["ไ", "ข้", "สู", "ง"]),
        ("고혈압이", ["고", "혈", "압", "이"]),
        ("\u1112\u1161\u11ab글", ["\u1112\u1161\u11ab", "글"]),  # decomposed
        ("ｶﾞン", ["ｶﾞ", "ン"]),
        ("उच्च रक्तचाप", ["उच्च", "रक्तचाप"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("cafe\u0301ine", ["cafe\u0301ine"]),
        ("препаратaspirinом", ["препарат", "aspirin", "ом"]),
        ("IкBα TNFα 5µg x_1", ["IкBα", "TNFα", "5µg", "x_1"]),
        ("aspirin\u200b \u200fheadache\u200e\xad.", ["aspirin", "headache", "."]),
        ("end\u200d.", ["end", "."]),
        ("aspirin\u3164 \u2800ill\u2800 \uffa0x\u115f", ["aspirin", "ill", "x"]),
        ("ᏣᎳᎩaspirinᐃᓄᒃ", ["ᏣᎳᎩ", "aspirin", "ᐃᓄᒃ"]),
        ("葛\U000e0100城❤\ufe0f", ["葛\U000e0100", "城", "❤\ufe0f"]),
    ],
)
def test_default_rule(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("p53null", ["p", "53", "null"]),
        ("Ca2+ NaCl", ["Ca", "2", "+", "Na", "Cl"]),
        ("drug_A12", ["drug", "_", "A", "12"]),
        ("AntiHER2 Aspirin", ["Anti", "HER", "2", "Aspirin"]),
        ("TNFalpha TNFα", ["TN", "F", "alpha", "TNF", "α"]),
        ("5mg高血", ["5", "mg", "高", "血"]),
    ],
)
def test_rule_of_parts(text: str, parts: list[str]) -> None:
    assert words_of(text, PARTS) == parts


def test_rule_of_characters() -> None:
    assert words_of("KATP e\u0301\u200b.", CHARACTERS) == ["K", "A", "T", "P", "e\u0301", "."]


def test_trim_to_words() -> None:
    text = " \u200b\ufeffcafé\xad\n"
    trimmed = trim_to_words(text, 0, len(text))
    assert trimmed is not None
    assert text[slice(*trimmed)] == "café"
    assert trim_to_words(" \u200b", 0, 2) is None
