"""Offsets: detection of their unit."""

from dataclasses import replace

import pytest
from hypothesis import given

from tagalong.backend.documents.offsets import (
    OffsetUnit,
    RawSpan,
    combine_offset_units,
    detect_offset_unit,
    is_same_text,
    utf16_to_code_points,
)
from tagalong.ner.document import Document
from tests.odd_documents import in_utf16, odd_documents, shown

TEXT = "😀 Naloxone reverses the effect of clonidine 😀 and naloxone."


def at(words: str, *, stated: str | None = None, shift: int = 0) -> RawSpan:
    start = TEXT.index(words) + shift
    return RawSpan(start, start + len(words), ("Chemical",), words if stated is None else stated)


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
def test_white_space_may_differ(stated: str, covered: str) -> None:
    assert is_same_text(stated, covered)


def test_different_words_do_not_match() -> None:
    assert not is_same_text("renal failure", "renal failures")
    assert not is_same_text("renal failure", "renalfailure")


def test_units_agree_without_astral_characters() -> None:
    assert detect_offset_unit([RawSpan(0, 3, ("x",), "abd")], "abc") == "alike"


def test_matching_texts_prove_code_points() -> None:
    assert (
        detect_offset_unit([at("Naloxone"), at("clonidine", stated="other")], TEXT) == "code points"
    )


def test_shifted_offsets_prove_utf16() -> None:
    regions = [at("Naloxone", shift=1), at("clonidine", shift=1), at("naloxone", shift=2)]
    assert detect_offset_unit(regions, TEXT) == "UTF-16 units"
    assert utf16_to_code_points(regions, TEXT) == [at("Naloxone"), at("clonidine"), at("naloxone")]


def test_contradictory_texts_are_undecidable() -> None:
    assert detect_offset_unit([at("Naloxone"), at("clonidine", shift=1)], TEXT) == "undecidable"
    assert detect_offset_unit([at("Naloxone", stated="aspirin")], TEXT) == "undecidable"


def test_regions_without_text_are_unchecked() -> None:
    assert detect_offset_unit([at("Naloxone", stated="")], TEXT) == "unchecked"
    assert detect_offset_unit([], TEXT) == "alike"


def test_regions_before_the_first_astral_character_prove_nothing() -> None:
    text = "Naloxone 😀"
    assert detect_offset_unit([RawSpan(0, 8, ("Chemical",), "aspirin")], text) == "alike"


def test_repeated_text_may_match_both_units() -> None:
    first, last = RawSpan(3, 4, ("x",), "a"), RawSpan(5, 6, ("x",), "a")
    assert detect_offset_unit([last], "😀😀 a a b") == "either"
    assert detect_offset_unit([last, first], "😀😀 a a b") == "code points"
    assert detect_offset_unit([last, RawSpan(9, 10, ("x",), "b")], "😀😀 a a b") == "UTF-16 units"


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
def test_export_unit_is_the_agreed_unit(countings: list[OffsetUnit], pooled: OffsetUnit) -> None:
    assert combine_offset_units(countings) == pooled


@pytest.mark.parametrize(("start", "end"), [(1, 3), (0, 999), (-2, 4), (999, 1003)])
def test_impossible_utf16_offsets_become_none(start: int, end: int) -> None:
    assert utf16_to_code_points([RawSpan(start, end, ("x",))], TEXT) == [None]


@given(odd_documents())
def test_utf16_conversion_round_trips(document: Document) -> None:
    text = document.text
    regions = [
        RawSpan(span.start, span.end, (span.label,), shown(document.span_text(span)))
        for span in document.spans
    ]
    old = [
        replace(region, start=in_utf16(text, region.start), end=in_utf16(text, region.end))
        for region in regions
    ]
    assert utf16_to_code_points(old, text) == regions
    counting = detect_offset_unit(regions, text)
    assert counting in ("alike", "code points", "either")
    assert (counting == "alike") == (old == regions)
    # It never detects the wrong unit.
    assert detect_offset_unit(old, text) in (
        {"alike"} if old == regions else {"UTF-16 units", "either"}
    )
