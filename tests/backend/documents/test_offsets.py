"""Offsets in every common counting, and comparison with stated texts."""

import html
from dataclasses import replace
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.documents.offsets import (
    CODE_POINTS,
    COUNTINGS,
    UTF_16,
    Counting,
    RawSpan,
    is_address,
    is_counted_alike,
    is_same_text,
    shift,
    stands_as_stated,
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


def test_entities_and_composition_may_differ() -> None:
    assert is_same_text("Aspirin & warfarin", "Aspirin &amp; warfarin")
    assert is_same_text("caf\u00e9ine", "cafe\u0301ine")


def count_in(counting: Counting, text: str, offset: int) -> int:
    """An offset as another program counts it, independently of the patterns."""
    head = text[:offset]
    match counting.name:
        case "UTF-16 offsets":
            return in_utf16(text, offset)
        case "CRLF counted as one":
            return len(head.replace("\r\n", "\n"))
        case "UTF-16 offsets, CRLF counted as one":
            return len(head.replace("\r\n", "\n").encode("utf-16-le")) // 2
        case "LF counted as two":
            return len(head.replace("\r\n", "\n").replace("\n", "\r\n"))
        case "HTML entities counted as one":
            return len(html.unescape(head))
        case "HTML escapes counted":
            return len(html.escape(head, quote=False))
        case "HTML escapes of quotes counted":
            return len(html.escape(head))
        case "byte offsets":
            return len(head.encode())
        case "NFC offsets":
            return len(normalize("NFC", head))
        case "NFD offsets":
            return len(normalize("NFD", head))
        case "leading white space not counted":
            return len(head.lstrip())
    return offset


WORDS = ("\u00c5ngstr\u00f6m", "na\u00efve", "nai\u0308ve", "\u1112\u1161\u11ab", "\ud55c",
         "\u0995\u09c7\u09be", "\U0001f600", "&amp;", "<b>", '"x"', "it\u2019s", "a&b",
         "q\u0323\u0307")  # fmt: skip


@given(
    st.lists(st.sampled_from((*WORDS, " ", "\n", "\r\n", "\ufeff")), max_size=12),
    st.sampled_from(COUNTINGS),
)
def test_offsets_of_every_counting_are_converted(pieces: list[str], counting: Counting) -> None:
    text = "".join((*pieces, " end"))
    bounds = [len("".join(pieces[:i])) for i in range(len(pieces) + 1)]
    for start, piece in zip(bounds, pieces, strict=False):
        if not piece.strip() or text[start - 1 : start] in WORDS[:6] or piece == "\ufeff":
            continue
        end = start + len(piece)
        counted = RawSpan(count_in(counting, text, start), count_in(counting, text, end), ("x",))
        (back,) = counting.to_code_points([counted], text)
        if not normalize("NFC", text[:start] + "|" + text[start:]).startswith(
            normalize("NFC", text[:start]) + "|"
        ):
            continue
        assert back is not None
        assert (back.start, back.end) == (start, end)


def test_shifts_are_undone() -> None:
    moved = at("Naloxone", shift=1)
    assert shift(1, 1).to_code_points([moved], TEXT) == [at("Naloxone")]


def test_equal_texts_show_code_points() -> None:
    assert is_counted_alike([RawSpan(0, 8, ("x",))], "Naloxone\r\n")
    assert is_counted_alike([at("clonidine")], TEXT)
    assert not is_counted_alike([at("clonidine", shift=1)], TEXT)
    assert not is_counted_alike([at("clonidine", stated="")], TEXT)  # nothing shows it
    assert not is_counted_alike([RawSpan(5, 6, ("x",), "a")], "\U0001f600\U0001f600 a a b")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/data/upload/1/3f2a-cookbook.txt", True),
        ("https://example.org/a.txt", True),
        ("s3://bucket/a%20b.txt", True),
        ("see https://example.org/a.txt", False),
        ("/data is lost", False),
        ("and/or", False),
        ("", False),
    ],
)
def test_addresses_are_told_from_texts(text: str, expected: bool) -> None:
    assert is_address(text) == expected


@pytest.mark.parametrize(("start", "end"), [(1, 3), (0, 999), (-2, 4), (999, 1003)])
def test_impossible_utf16_offsets_become_none(start: int, end: int) -> None:
    assert UTF_16.to_code_points([RawSpan(start, end, ("x",))], TEXT) == [None]


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
    assert UTF_16.to_code_points(old, text) == regions
    assert CODE_POINTS.to_code_points(old, text) == old
    assert all(stands_as_stated(one, text) for one in regions if one.text)
    # It never takes another counting for code points.
    assert not is_counted_alike(old, text) or old == regions
