"""Fitting regions to a text: what fits stays exactly, what does not is lost by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.annotations.span_validation import convert_to_code_points, validate_raw_spans
from tagalong.backend.documents.offsets import RawSpan
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.ner.document import DROP_REASONS, Document, DroppedAnnotation, Span
from tagalong.ner.errors import OffsetError
from tests.errors import raises
from tests.odd_documents import LABELS, odd_documents, shown, texts

DOCUMENT = Document("1", "Acute  renal failure after Ca2+ 😀 therapy ")
NAMES = {"Chemical": "CHEM", "CHEM": "CHEM", "Disease": "Disease"}
CONFIG = LabelConfig("label", "text", "text", ("CHEM", "Disease"), NAMES)


def fitted(
    *regions: RawSpan, config: LabelConfig | None = None
) -> tuple[tuple[Span, ...], ImportLog]:
    ledger = ImportLog()
    return validate_raw_spans(DOCUMENT, regions, config=config, import_log=ledger), ledger


def judged(ledger: ImportLog) -> dict[str, int]:
    return {warning.kind: warning.count for warning in ledger.warnings()}


@given(odd_documents())
def test_spans_of_a_text_fit_it(document: Document) -> None:
    ledger = ImportLog()
    regions = [
        RawSpan(span.start, span.end, (span.label,), shown(document.span_text(span)))
        for span in document.spans
    ]
    assert validate_raw_spans(document, regions, config=None, import_log=ledger) == document.spans
    assert (ledger.dropped, ledger.warnings()) == ([], ())


@given(texts, st.lists(st.tuples(*[st.integers(-3, 40)] * 2, st.sampled_from(LABELS)), max_size=5))
def test_every_region_is_kept_once_or_lost(text: str, drawn: list[tuple[int, int, str]]) -> None:
    ledger = ImportLog()
    regions = [RawSpan(start, end, (label,)) for start, end, label in drawn]
    document = Document("1", text)
    spans = validate_raw_spans(document, regions, config=None, import_log=ledger)
    assert len(spans) + len(ledger.dropped) + judged(ledger).get("drawn twice", 0) == len(regions)
    assert {lost.reason for lost in ledger.dropped} <= set(DROP_REASONS)
    for span in spans:
        assert document.span_text(span) == document.span_text(span).strip() != ""


@pytest.mark.parametrize(("start", "end"), [(-1, 3), (5, 5), (9, 2), (40, 44), (99, 120)])
def test_offsets_outside_the_text_are_lost(start: int, end: int) -> None:
    spans, ledger = fitted(RawSpan(start, end, ("Disease",), "stated"))
    assert spans == ()
    assert ledger.dropped == [
        DroppedAnnotation("Disease", "stated", "offset outside the text", start, end, "1")
    ]


def test_white_space_at_the_edges_is_trimmed_and_counted() -> None:
    spans, ledger = fitted(RawSpan(5, 21, ("Disease",), " renal failure "))
    assert [DOCUMENT.span_text(span) for span in spans] == ["renal failure"]
    assert judged(ledger) == {"white space trimmed": 1}


def test_nothing_but_white_space_is_no_words() -> None:
    spans, ledger = fitted(RawSpan(5, 7, ("Disease",), "  "))
    assert spans == ()
    assert ledger.dropped == [DroppedAnnotation("Disease", "  ", "no words", 5, 7, "1")]


def test_the_first_of_several_labels_stays() -> None:
    spans, ledger = fitted(RawSpan(27, 31, ("Chemical", "Drug", "Chemical", "Ion")))
    assert spans == (Span(27, 31, "Chemical"),)
    assert [(lost.label, lost.text, lost.reason) for lost in ledger.dropped] == [
        ("Drug", "Ca2+", "second label"),
        ("Ion", "Ca2+", "second label"),
    ]


def test_labels_go_by_the_names_of_the_config() -> None:
    spans, ledger = fitted(
        RawSpan(27, 31, ("Gene", "Chemical", "CHEM")), RawSpan(0, 5, ("Gene",)), config=CONFIG
    )
    assert spans == (Span(27, 31, "CHEM"),)
    assert [(lost.label, lost.text, lost.reason) for lost in ledger.dropped] == [
        ("Gene", "Ca2+", "label unknown"),
        ("Gene", "Acute", "label unknown"),
    ]


def test_a_region_without_a_label_is_counted() -> None:
    spans, ledger = fitted(RawSpan(27, 31, ()))
    assert (spans, ledger.dropped, judged(ledger)) == ((), [], {"region without a label": 1})


def test_overlaps_and_edges_inside_words_stay_for_later() -> None:
    spans, ledger = fitted(RawSpan(0, 20, ("Disease",)), RawSpan(27, 29, ("Chemical",)))
    assert [DOCUMENT.span_text(span) for span in spans] == ["Acute  renal failure", "Ca"]
    assert ledger.dropped == []


def test_the_same_span_twice_is_one() -> None:
    spans, ledger = fitted(RawSpan(27, 31, ("Chemical",)), RawSpan(27, 32, ("Chemical",)))
    assert spans == (Span(27, 31, "Chemical"),)
    assert judged(ledger) == {"white space trimmed": 1, "drawn twice": 1}


def test_another_stated_text_is_only_a_warning() -> None:
    spans, ledger = fitted(RawSpan(27, 31, ("Chemical",), "Mg2+"))
    assert spans == (Span(27, 31, "Chemical"),)
    assert ledger.warnings()[0].examples == ("1: 'Ca2+', stated as 'Mg2+'",)


def test_scores_come_along() -> None:
    spans, _ = fitted(RawSpan(27, 31, ("Chemical",), score=0.25))
    assert spans[0].score == 0.25


def test_utf16_is_corrected_and_counted() -> None:
    ledger = ImportLog()
    old = [RawSpan(35, 42, ("Disease",), "therapy"), RawSpan(33, 35, ("Disease",), "?")]
    moved = convert_to_code_points(DOCUMENT, old, ledger)
    assert [DOCUMENT.text[region.start : region.end] for region in moved] == ["therapy"]
    assert judged(ledger) == {"UTF-16 offsets": 1}
    assert [lost.reason for lost in ledger.dropped] == ["offset outside the text"]


def test_offsets_that_cannot_be_checked_are_counted() -> None:
    ledger = ImportLog()
    regions = [RawSpan(34, 41, ("Disease",))]
    assert convert_to_code_points(DOCUMENT, regions, ledger) == regions
    assert judged(ledger) == {"offsets unchecked": 1}


def test_offsets_that_fit_both_ways_are_as_the_export_has_them() -> None:
    document, regions = Document("1", "😀😀 a a"), [RawSpan(5, 6, ("Gene",), "a")]
    ledger = ImportLog()
    assert convert_to_code_points(document, regions, ledger) == regions
    assert judged(ledger) == {"offsets ambiguous": 1}
    (moved,) = convert_to_code_points(
        document, regions, ledger, fallback_unit=lambda: "UTF-16 units"
    )
    assert (moved.start, moved.end) == (3, 4)
    assert judged(ledger) == {"offsets ambiguous": 1, "UTF-16 offsets": 1}


def test_offsets_that_contradict_their_texts_are_refused() -> None:
    regions = [RawSpan(34, 41, ("Disease",), "therapy"), RawSpan(35, 42, ("Disease",), "therapy")]
    with raises(OffsetError, "offset-unit-unknown"):
        convert_to_code_points(DOCUMENT, regions, ImportLog())
