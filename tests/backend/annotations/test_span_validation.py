"""Validation of regions: valid ones are kept, others are dropped with a reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.annotations.span_validation import (
    convert_to_code_points,
    find_masked_ranges,
    validate_raw_spans,
)
from tagalong.backend.documents.offsets import CODE_POINTS, UTF_16, RawSpan
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.ner.document import DROP_REASONS, Document, DroppedAnnotation, DropReason, Span
from tests.odd_documents import LABELS, odd_documents, shown, texts

DOCUMENT = Document("1", "Acute  renal failure after Ca2+ 😀 therapy ")
NAMES = {"Chemical": "CHEM", "CHEM": "CHEM", "Disease": "Disease"}
CONFIG = LabelConfig("label", "text", "text", ("CHEM", "Disease"), NAMES)


def validate(
    *regions: RawSpan, config: LabelConfig | None = None
) -> tuple[tuple[Span, ...], ImportLog]:
    import_log = ImportLog()
    return validate_raw_spans(DOCUMENT, regions, config=config, import_log=import_log), import_log


def read_counts(import_log: ImportLog) -> dict[str, int]:
    return {warning.kind: warning.count for warning in import_log.warnings()}


@given(odd_documents())
def test_valid_spans_are_unchanged(document: Document) -> None:
    import_log = ImportLog()
    regions = [
        RawSpan(span.start, span.end, (span.label,), shown(document.span_text(span)))
        for span in document.spans
    ]
    assert (
        validate_raw_spans(document, regions, config=None, import_log=import_log) == document.spans
    )
    assert (import_log.dropped, import_log.warnings()) == ([], ())


@given(texts, st.lists(st.tuples(*[st.integers(-3, 40)] * 2, st.sampled_from(LABELS)), max_size=5))
def test_each_region_is_kept_once_or_dropped(text: str, drawn: list[tuple[int, int, str]]) -> None:
    import_log = ImportLog()
    regions = [RawSpan(start, end, (label,)) for start, end, label in drawn]
    document = Document("1", text)
    spans = validate_raw_spans(document, regions, config=None, import_log=import_log)
    assert len(spans) + len(import_log.dropped) + read_counts(import_log).get(
        "drawn twice", 0
    ) == len(regions)
    assert {lost.reason for lost in import_log.dropped} <= set(DROP_REASONS)
    for span in spans:
        assert document.span_text(span) == document.span_text(span).strip() != ""


@pytest.mark.parametrize(("start", "end"), [(-1, 3), (50, 50), (9, 2), (40, 44), (99, 120)])
def test_offsets_outside_the_text_are_dropped(start: int, end: int) -> None:
    spans, import_log = validate(RawSpan(start, end, ("Disease",), "stated"))
    assert spans == ()
    reason: DropReason = "end before start" if start > end else "offset outside the text"
    assert import_log.dropped == [DroppedAnnotation("Disease", "stated", reason, start, end, "1")]


def test_outer_white_space_is_trimmed_and_counted() -> None:
    spans, import_log = validate(RawSpan(5, 21, ("Disease",), " renal failure "))
    assert [DOCUMENT.span_text(span) for span in spans] == ["renal failure"]
    assert read_counts(import_log) == {"white space trimmed": 1}


def test_blank_regions_are_dropped() -> None:
    spans, import_log = validate(RawSpan(5, 7, ("Disease",), "  "))
    assert spans == ()
    assert import_log.dropped == [DroppedAnnotation("Disease", "  ", "no words", 5, 7, "1")]


def test_first_of_several_labels_is_kept() -> None:
    spans, import_log = validate(RawSpan(27, 31, ("Chemical", "Drug", "Chemical", "Ion")))
    assert spans == (Span(27, 31, "Chemical"),)
    assert [(lost.label, lost.text, lost.reason) for lost in import_log.dropped] == [
        ("Drug", "Ca2+", "second label"),
        ("Ion", "Ca2+", "second label"),
    ]


def test_labels_are_mapped_to_config_names() -> None:
    spans, import_log = validate(
        RawSpan(27, 31, ("Gene", "Chemical", "CHEM")), RawSpan(0, 5, ("Gene",)), config=CONFIG
    )
    assert spans == (Span(27, 31, "CHEM"),)
    assert [(lost.label, lost.text, lost.reason) for lost in import_log.dropped] == [
        ("Gene", "Ca2+", "label unknown"),
        ("Gene", "Acute", "label unknown"),
    ]


def test_region_without_label_is_counted() -> None:
    spans, import_log = validate(RawSpan(27, 31, ()))
    assert (spans, import_log.dropped, read_counts(import_log)) == (
        (),
        [],
        {"region without a label": 1},
    )


def test_overlaps_and_partial_words_are_kept() -> None:
    spans, import_log = validate(RawSpan(0, 20, ("Disease",)), RawSpan(27, 29, ("Chemical",)))
    assert [DOCUMENT.span_text(span) for span in spans] == ["Acute  renal failure", "Ca"]
    assert import_log.dropped == []


def test_duplicate_spans_are_merged() -> None:
    spans, import_log = validate(RawSpan(27, 31, ("Chemical",)), RawSpan(27, 32, ("Chemical",)))
    assert spans == (Span(27, 31, "Chemical"),)
    assert read_counts(import_log) == {"white space trimmed": 1, "drawn twice": 1}


def test_region_with_another_stated_text_is_dropped_and_masked() -> None:
    region = RawSpan(27, 31, ("Chemical",), "Mg2+")
    spans, import_log = validate(region)
    assert spans == ()
    assert import_log.dropped == [
        DroppedAnnotation("Chemical", "Mg2+", "text differs", 27, 31, "1")
    ]
    assert find_masked_ranges(DOCUMENT, [region]) == [(27, 31)]


def test_empty_region_is_dropped() -> None:
    spans, import_log = validate(RawSpan(5, 5, ("Chemical",)))
    assert (spans, [lost.reason for lost in import_log.dropped]) == ((), ["empty"])


def test_region_of_another_control_is_counted_and_masked() -> None:
    region = RawSpan(27, 31, (), control_type="taxonomy")
    spans, import_log = validate(region)
    assert (spans, read_counts(import_log)) == ((), {"region of another kind": 1})
    assert find_masked_ranges(DOCUMENT, [region]) == [(27, 31)]


def test_scores_are_kept() -> None:
    spans, _ = validate(RawSpan(27, 31, ("Chemical",), score=0.25))
    assert spans[0].score == 0.25


def test_utf16_offsets_are_converted_and_counted() -> None:
    import_log = ImportLog()
    old = [RawSpan(35, 42, ("Disease",), "therapy"), RawSpan(33, 35, ("Disease",), "?")]
    moved = convert_to_code_points(DOCUMENT, old, UTF_16, import_log)
    assert [DOCUMENT.text[region.start : region.end] for region in moved] == ["therapy"]
    assert read_counts(import_log) == {"UTF-16 offsets": 1}
    assert [lost.reason for lost in import_log.dropped] == ["offset outside the text"]
    assert convert_to_code_points(DOCUMENT, old, CODE_POINTS, import_log) == old
