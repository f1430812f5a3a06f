"""JSON lines: round trips, and errors for malformed lines."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.documents.jsonl import (
    PredictedDocument,
    document_text_from_json,
    document_to_json,
    parse_lines,
    predicted_document_from_json,
    prediction_to_json,
    raw_spans_from_json,
)
from tagalong.backend.documents.offsets import RawSpan
from tagalong.ner.document import (
    DROP_REASONS,
    Document,
    DroppedAnnotation,
    Prediction,
    Span,
)
from tagalong.ner.errors import FormatError
from tests.errors import raises
from tests.odd_documents import odd_documents
from tests.spans import document_from_json

LINE: dict[str, Any] = {
    "id": "8701013",
    "text": "Famotidine-associated delirium.",
    "entities": [{"start": 0, "end": 10, "label": "Chemical"}],
}


def through_a_file(line: dict[str, Any]) -> dict[str, Any]:
    ((_, parsed),) = parse_lines([json.dumps(line, ensure_ascii=False).encode() + b"\n"], "f")
    return parsed


@given(odd_documents(), st.none() | st.floats(0, 1))
def test_documents_round_trip(document: Document, score: float | None) -> None:
    spans = tuple(Span(span.start, span.end, span.label, score) for span in document.spans)
    scored = Document(document.id, document.text, spans, {"pmid": "1"})
    back = document_from_json(through_a_file(document_to_json(scored)), "line 1")
    assert back == scored
    assert back.meta == scored.meta
    assert [span.score for span in back.spans] == [score] * len(spans)


@given(odd_documents(), st.floats(0, 1), st.sampled_from(DROP_REASONS))
def test_predictions_round_trip(document: Document, score: float, reason: Any) -> None:
    lost = tuple(
        DroppedAnnotation(
            span.label, document.span_text(span), reason, span.start, span.end, document.id
        )
        for span in document.spans
    )
    prediction = Prediction(tuple(sorted(document.spans)), score, "enc-20261122-1", dropped=lost)
    line = through_a_file(prediction_to_json(document, prediction))
    assert predicted_document_from_json(line, "line 1") == PredictedDocument(
        document.id, document.text, score=score, version="enc-20261122-1", lost=lost
    )
    stated = [RawSpan(span.start, span.end, (span.label,)) for span in prediction.spans]
    assert raw_spans_from_json(line, "line 1") == stated


def test_predictions_of_other_tools_need_no_scores() -> None:
    document = predicted_document_from_json(LINE, "line 1")
    assert document == PredictedDocument("8701013", LINE["text"], score=1.0, version="unknown")


def test_id_may_be_a_number_and_defaults_to_the_line() -> None:
    for number in (7, 7.0):
        assert document_text_from_json({"text": "a", "id": number}, "line 1").id == "7"
    for line in ({"text": "a"}, {"text": "a", "id": None}, {"text": "a", "id": ""}):
        assert document_text_from_json(line, "line 1").id == "line 1"


def test_stated_text_is_kept_for_validation() -> None:
    entity = {**LINE["entities"][0], "text": "Famotidine", "score": 1}
    assert raw_spans_from_json({**LINE, "entities": [entity]}, "line 1") == [
        RawSpan(0, 10, ("Chemical",), "Famotidine", 1.0)
    ]


SPAN = {"start": 0, "end": 3, "label": "x"}
DROPPED = {"label": "a", "text": "b", "reason": "overlap", "start": 0, "end": 1}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"text": None}, "line-without-text"),
        ({"id": True}, "id-invalid"),
        ({"id": 7.5}, "id-invalid"),
        ({"id": ["7"]}, "id-invalid"),
        ({"meta": "m"}, "meta-invalid"),
        ({"entities": None}, "line-without-entities"),
        ({"entities": ["Chemical"]}, "entity-invalid"),
        ({"entities": [{"start": 0, "end": 3}]}, "entity-invalid"),
        ({"entities": [{**SPAN, "start": "0"}]}, "entity-invalid"),
        ({"entities": [{**SPAN, "start": True}]}, "entity-invalid"),
        ({"entities": [{**SPAN, "start": 0.0}]}, "entity-invalid"),
        ({"entities": [{**SPAN, "label": ""}]}, "entity-invalid"),
        ({"entities": [{**SPAN, "text": 3}]}, "entity-text-invalid"),
        ({"entities": [{**SPAN, "score": 1.5}]}, "score-invalid"),
        ({"entities": [{**SPAN, "score": float("nan")}]}, "score-invalid"),
        ({"score": "high"}, "score-invalid"),
        ({"score": -0.1}, "score-invalid"),
        ({"lost": "none"}, "lost-invalid"),
        ({"lost": ["x"]}, "lost-invalid"),
        ({"lost": [{**DROPPED, "reason": "bad luck"}]}, "lost-invalid"),
        ({"lost": [{**DROPPED, "start": None}]}, "lost-invalid"),
    ],
)
def test_malformed_line_error_names_its_place(change: dict[str, Any], code: str) -> None:
    with raises(FormatError, code) as raised:
        predicted_document_from_json({**LINE, **change}, "f, line 3")
        raw_spans_from_json({**LINE, **change}, "f, line 3")
    assert str(raised.value).startswith("f, line 3")


@pytest.mark.parametrize(
    ("unknown", "code"),
    [
        ("none", "unknown-invalid"),
        ([[1]], "unknown-invalid"),
        ([[True, 3]], "unknown-invalid"),
        ([[3, 3]], "unknown-outside-text"),
        ([[0, 9999]], "unknown-outside-text"),
    ],
)
def test_malformed_masked_range_is_an_error(unknown: object, code: str) -> None:
    with raises(FormatError, code):
        document_from_json({**LINE, "unknown": unknown}, "f, line 3")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"id": "\ud83d"}, "id"),
        ({"text": "ab \udc00"}, "text"),
        ({"meta": {"pmid": [{"a": "\ud83d"}]}}, "meta"),
        ({"meta": {"\ud83d": 1}}, "meta"),
        ({"entities": [{**SPAN, "label": "\ud83d"}]}, "label"),
        ({"entities": [{**SPAN, "text": "\ud83d"}]}, "text"),
        ({"model_version": "\ud83d"}, "model_version"),
        ({"lost": [{**DROPPED, "label": "\ud83d"}]}, '"lost"'),
    ],
)
def test_lone_surrogate_is_an_error_in_every_field(change: dict[str, Any], field: str) -> None:
    with raises(FormatError, "half-a-character") as raised:
        predicted_document_from_json({**LINE, **change}, "f, line 3")
        raw_spans_from_json({**LINE, **change}, "f, line 3")
    assert f"of its {field}:" in str(raised.value)


def test_id_from_a_non_utf8_path_is_escaped() -> None:
    assert (
        document_text_from_json({"text": "a"}, "\udcff.jsonl, line 1").id == "\\udcff.jsonl, line 1"
    )


def test_lines_are_counted_from_1_and_blank_lines_skipped() -> None:
    lines = [b"\xef\xbb\xbf{}\r\n", b"\n", b'{"a": 1}']
    assert list(parse_lines(lines, "f")) == [("f, line 1", {}), ("f, line 3", {"a": 1})]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"{", "line-not-json"),
        (b"[" * 99999, "line-not-json"),
        (b'{"a": ' + b"9" * 5000 + b"}", "line-not-json"),
        (b"[1]", "record-not-an-object"),
        (b"3", "record-not-an-object"),
        (b'{"text": "\xff"}', "line-not-utf-8"),
    ],
)
def test_line_without_an_object_is_an_error(line: bytes, code: str) -> None:
    with raises(FormatError, code) as raised:
        list(parse_lines([b"{}\n", line], "f"))
    assert str(raised.value).startswith("f, line 2")
