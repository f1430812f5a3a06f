"""Offsets: what they count is found out, never guessed."""

from dataclasses import replace

import pytest
from hypothesis import given

from backend.regions import (
    Counting,
    Region,
    detect_counting,
    from_utf16,
    pool_countings,
    says_the_same,
)
from ner.document import Document
from tests.odd_documents import in_utf16, odd_documents, shown

TEXT = "😀 Naloxone reverses the effect of clonidine 😀 and naloxone."


def at(words: str, *, stated: str | None = None, shift: int = 0) -> Region:
    start = TEXT.index(words) + shift
    return Region(start, start + len(words), ("Chemical",), words if stated is None else stated)


@pytest.mark.parametrize(
    ("stated", "covered"),
    [
        ("renal failure", "renal failure"),
        ("renal\\nfailure", "renal\nfailure"),
        ("renal\\r\\nfailure", "renal\r\nfailure"),
        ("renal failure", "renal   failure"),
        ("renal failure", " renal\u00a0failure\n"),
        ("the path C:\\new", "the path C:\\new"),
    ],
)
def test_white_space_may_be_shown_otherwise(stated: str, covered: str) -> None:
    assert says_the_same(stated, covered)


def test_other_words_are_not_the_same() -> None:
    assert not says_the_same("renal failure", "renal failures")
    assert not says_the_same("renal failure", "renalfailure")


def test_without_astral_characters_both_ways_of_counting_are_one() -> None:
    assert detect_counting([Region(0, 3, ("x",), "abd")], "abc") == "alike"


def test_a_fitting_text_speaks_for_code_points() -> None:
    assert detect_counting([at("Naloxone"), at("clonidine", stated="other")], TEXT) == "code points"


def test_shifted_offsets_speak_for_utf16() -> None:
    regions = [at("Naloxone", shift=1), at("clonidine", shift=1), at("naloxone", shift=2)]
    assert detect_counting(regions, TEXT) == "UTF-16 units"
    assert from_utf16(regions, TEXT) == [at("Naloxone"), at("clonidine"), at("naloxone")]


def test_contradiction_and_nonsense_are_undecidable() -> None:
    assert detect_counting([at("Naloxone"), at("clonidine", shift=1)], TEXT) == "undecidable"
    assert detect_counting([at("Naloxone", stated="aspirin")], TEXT) == "undecidable"


def test_nothing_stated_is_unchecked() -> None:
    assert detect_counting([at("Naloxone", stated="")], TEXT) == "unchecked"
    assert detect_counting([], TEXT) == "alike"


def test_regions_before_the_first_astral_character_tell_nothing() -> None:
    text = "Naloxone 😀"
    assert detect_counting([Region(0, 8, ("Chemical",), "aspirin")], text) == "alike"


def test_a_repeated_text_may_fit_both_ways() -> None:
    first, last = Region(3, 4, ("x",), "a"), Region(5, 6, ("x",), "a")
    assert detect_counting([last], "😀😀 a a b") == "either"
    assert detect_counting([last, first], "😀😀 a a b") == "code points"
    assert detect_counting([last, Region(9, 10, ("x",), "b")], "😀😀 a a b") == "UTF-16 units"


@pytest.mark.parametrize(
    ("countings", "pooled"),
    [
        ([], "either"),
        (["alike", "either", "unchecked"], "either"),
        (["alike", "UTF-16 units", "either", "UTF-16 units"], "UTF-16 units"),
        (["code points", "unchecked"], "code points"),
        (["code points", "UTF-16 units"], "either"),
    ],
)
def test_an_export_decides_where_it_speaks_with_one_voice(
    countings: list[Counting], pooled: Counting
) -> None:
    assert pool_countings(countings) == pooled


@pytest.mark.parametrize(("start", "end"), [(1, 3), (0, 999), (-2, 4), (999, 1003)])
def test_what_utf16_cannot_mean_has_no_place(start: int, end: int) -> None:
    assert from_utf16([Region(start, end, ("x",))], TEXT) == [None]


@given(odd_documents())
def test_counting_in_utf16_and_back_changes_nothing(document: Document) -> None:
    text = document.text
    regions = [
        Region(span.start, span.end, (span.label,), shown(document.covered(span)))
        for span in document.spans
    ]
    old = [
        replace(region, start=in_utf16(text, region.start), end=in_utf16(text, region.end))
        for region in regions
    ]
    assert from_utf16(old, text) == regions
    counting = detect_counting(regions, text)
    assert counting in ("alike", "code points", "either")
    assert (counting == "alike") == (old == regions)
    # Never the wrong way: what is told of either kind of offsets is true of them.
    assert detect_counting(old, text) in (
        {"alike"} if old == regions else {"UTF-16 units", "either"}
    )
