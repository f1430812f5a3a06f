"""JSON lines: what is written is read back, and what is not ours is told apart."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.documents.jsonl import (
    document_from_json,
    document_text_from_json,
    document_to_json,
    parse_lines,
    prediction_from_json,
    prediction_to_json,
    raw_spans_from_json,
)
from tagalong.backend.documents.offsets import RawSpan
from tagalong.ner.document import DROP_REASONS, Document, DroppedAnnotation, Prediction, Span
from tagalong.ner.errors import FormatError, OffsetError
from tests.odd_documents import odd_documents

LINE: dict[str, Any] = {
    "id": "8701013",
    "text": "Famotidine-associated delirium.",
    "entities": [{"start": 0, "end": 10, "label": "Chemical"}],
}


def through_a_file(line: dict[str, Any]) -> dict[str, Any]:
    ((_, parsed),) = parse_lines([json.dumps(line, ensure_ascii=False).encode() + b"\n"], "f")
    return parsed


@given(odd_documents(), st.none() | st.floats(0, 1))
def test_documents_come_back(document: Document, score: float | None) -> None:
    spans = tuple(Span(span.start, span.end, span.label, score) for span in document.spans)
    scored = Document(document.id, document.text, spans, {"pmid": "1"})
    back = document_from_json(through_a_file(document_to_json(scored)), "line 1")
    assert back == scored
    assert back.meta == scored.meta
    assert [span.score for span in back.spans] == [score] * len(spans)


@given(odd_documents(), st.floats(0, 1), st.sampled_from(DROP_REASONS))
def test_predictions_come_back(document: Document, score: float, reason: Any) -> None:
    lost = tuple(
        DroppedAnnotation(
            span.label, document.span_text(span), reason, span.start, span.end, document.id
        )
        for span in document.spans
    )
    said = Prediction(tuple(sorted(document.spans)), score, "enc-20261122-1", dropped=lost)
    line = through_a_file(prediction_to_json(document, said))
    assert prediction_from_json(line, "line 1") == (Document(document.id, document.text), said)


def test_predictions_of_other_tools_need_no_scores() -> None:
    document, said = prediction_from_json(LINE, "line 1")
    assert document == Document("8701013", LINE["text"])
    assert said == Prediction((Span(0, 10, "Chemical"),), 1.0, "unknown")


@pytest.mark.parametrize(("start", "end"), [(-1, 3), (5, 5), (9, 2), (0, 999)])
def test_what_is_no_stretch_of_the_text_is_lost_or_refused(start: int, end: int) -> None:
    entity = {"start": start, "end": end, "label": "Chemical", "text": "x"}
    line = {**LINE, "entities": [*LINE["entities"], entity]}
    _, said = prediction_from_json(line, "line 1")
    assert said.spans == (Span(0, 10, "Chemical"),)
    assert said.dropped == (
        DroppedAnnotation("Chemical", "x", "offset outside the text", start, end, "8701013"),
    )
    with pytest.raises(OffsetError, match=r"line 1: "):
        document_from_json(line, "line 1")


def test_numbers_are_ids_and_a_place_is_better_than_none() -> None:
    assert document_text_from_json({"text": "a", "id": 7}, "line 1").id == "7"
    assert document_text_from_json({"text": "a"}, "line 1").id == "line 1"


def test_a_stated_text_is_kept_for_the_check() -> None:
    entity = {**LINE["entities"][0], "text": "Famotidine", "score": 1}
    assert raw_spans_from_json({**LINE, "entities": [entity]}, "line 1") == [
        RawSpan(0, 10, ("Chemical",), "Famotidine", 1.0)
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"text": None},
        {"text": "half \ud83d"},
        {"id": True},
        {"id": ["7"]},
        {"meta": "m"},
        {"entities": None},
        {"entities": ["Chemical"]},
        {"entities": [{"start": 0, "end": 3}]},
        {"entities": [{"start": "0", "end": 3, "label": "x"}]},
        {"entities": [{"start": True, "end": 3, "label": "x"}]},
        {"entities": [{"start": 0.0, "end": 3, "label": "x"}]},
        {"entities": [{"start": 0, "end": 3, "label": ""}]},
        {"entities": [{"start": 0, "end": 3, "label": "x", "score": 1.5}]},
        {"entities": [{"start": 0, "end": 3, "label": "x", "score": float("nan")}]},
        {"entities": [{"start": 0, "end": 3, "label": "x", "text": 3}]},
    ],
)
def test_other_shapes_are_refused_with_their_place(change: dict[str, Any]) -> None:
    with pytest.raises(FormatError, match=r"^f, line 3"):
        document_from_json({**LINE, **change}, "f, line 3")


@pytest.mark.parametrize(
    "change",
    [
        {"score": "high"},
        {"score": -0.1},
        {"lost": "none"},
        {"lost": ["x"]},
        {"lost": [{"label": "a", "text": "b", "reason": "bad luck", "start": 0, "end": 1}]},
        {"lost": [{"label": "a", "text": "b", "reason": "overlap"}]},
    ],
)
def test_predictions_of_other_shapes_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(FormatError, match=r"^f, line 3"):
        prediction_from_json({**LINE, **change}, "f, line 3")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"id": "\ud83d"}, "id"),
        ({"text": "ab \udc00"}, "text"),
        ({"meta": {"pmid": [{"a": "\ud83d"}]}}, "meta"),
        ({"meta": {"\ud83d": 1}}, "meta"),
        ({"entities": [{"start": 0, "end": 3, "label": "\ud83d"}]}, "label"),
        ({"entities": [{"start": 0, "end": 3, "label": "x", "text": "\ud83d"}]}, "text"),
        ({"model_version": "\ud83d"}, "model_version"),
        ({"lost": [{"label": "\ud83d", "text": "", "reason": "overlap", "start": 0, "end": 1}]},
         '"lost"'),
    ],
)  # fmt: skip
def test_half_a_character_is_refused_wherever_it_is(change: dict[str, Any], what: str) -> None:
    with pytest.raises(FormatError, match=rf"^f, line 3.* half a character, \\u.* of its {what}:"):
        prediction_from_json({**LINE, **change}, "f, line 3")


def test_a_place_that_is_no_text_is_still_an_id() -> None:
    assert (
        document_text_from_json({"text": "a"}, "\udcff.jsonl, line 1").id == "\\udcff.jsonl, line 1"
    )


def test_lines_are_counted_from_one_and_blank_ones_skipped() -> None:
    lines = [b"\xef\xbb\xbf{}\r\n", b"\n", b'{"a": 1}']
    assert list(parse_lines(lines, "f")) == [("f, line 1", {}), ("f, line 3", {"a": 1})]


@pytest.mark.parametrize(
    "line", [b"{", b"[1]", b"3", b'{"text": "\xff"}', b"[" * 99999, b'{"a": ' + b"9" * 5000 + b"}"]
)
def test_lines_that_are_no_objects_are_refused(line: bytes) -> None:
    with pytest.raises(FormatError, match=r"^f, line 2 is not"):
        list(parse_lines([b"{}\n", line], "f"))
