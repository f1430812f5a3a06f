"""Label Studio's formats: our results pass its validator, and its results are read exactly."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_studio_sdk.label_interface import LabelInterface

from tagalong.backend.documents.offsets import RawSpan
from tagalong.backend.label_studio.label_config import (
    DEFAULT_LABEL_CONFIG,
    LabelConfig,
    require_plain_text,
)
from tagalong.backend.label_studio.label_map import map_labels
from tagalong.backend.label_studio.results import (
    MIN_SCORE,
    find_text_key,
    find_value,
    is_span_result,
    place_texts,
    prediction_to_label_studio,
    raw_span_from_value,
    result_from_spans,
    to_shown_text,
    without_text,
)
from tagalong.backend.label_studio.task_text import TaskTextReader
from tagalong.ner.document import Document, Prediction, Span
from tagalong.ner.errors import FormatError
from tests.errors import raises
from tests.odd_documents import LABELS, odd_documents, region

CONFIG = LabelConfig(
    control="entities",
    object="body",
    data_key="abstract",
    labels=("CHEM", *LABELS[1:]),
    names_by_spelling={"CHEM": "CHEM", "Chemical": "CHEM", **{name: name for name in LABELS[1:]}},
)
XML = """<View><Text name="body" value="$abstract"/><Labels name="entities" toName="body">
<Label value="Chemical" alias="CHEM"/><Label value="Disease"/><Label value="Gene or gene product"/>
</Labels></View>"""
INTERFACE = LabelInterface(XML)


SCORES = st.one_of(st.floats(), st.floats(0, 1))


@given(odd_documents(), SCORES)
def test_results_are_valid_and_round_trip(document: Document, score: float) -> None:
    spans = tuple(Span(span.start, span.end, span.label, score) for span in document.spans)
    item = prediction_to_label_studio(document, Prediction(spans, score, "enc-1"), CONFIG)
    assert INTERFACE.validate_prediction(item, return_errors=True) == []
    assert item["model_version"] == "enc-1"
    scores = [item["score"], *(one["score"] for one in item["result"])]
    assert all(0 < one <= 1 for one in scores)
    assert all(one == score for one in scores) or not MIN_SCORE <= score <= 1
    json.dumps(item, allow_nan=False)
    assert len({one["id"] for one in item["result"]}) == len(spans)
    back = [raw_span_from_value(one["value"], "task 1") for one in item["result"]]
    assert [document.text[one.start : one.end] for one in back] == [one.text for one in back]
    assert [(one.start, one.end, *one.labels) for one in back] == [
        (span.start, span.end, CONFIG.names_by_spelling[span.label]) for span in spans
    ]


@given(odd_documents(), st.lists(st.sampled_from(["chemical", "Disease", "Gene", "x"])))
def test_result_is_valid_for_any_label_names(document: Document, labels: list[str]) -> None:
    called = labels or ["Disease"]
    spans = tuple(
        replace(span, label=called[i % len(called)]) for i, span in enumerate(document.spans)
    )
    prediction = Prediction(spans, 0.5, "enc-1")
    item = prediction_to_label_studio(
        document, map_labels(labels, CONFIG).apply(document, prediction), CONFIG
    )
    assert INTERFACE.validate_prediction(item, return_errors=True) == []
    assert {one["score"] for one in item["result"]} <= {1.0}


def test_id_with_surrogate_is_handled() -> None:
    document = Document("\ud800", "naloxone", (Span(0, 8, "Chemical"),))
    assert result_from_spans(document, document.spans, DEFAULT_LABEL_CONFIG)[0]["id"]


def test_region_ids_are_deterministic_and_duplicates_are_merged() -> None:
    document = Document("1", "naloxone", (Span(0, 8, "Chemical"),))
    once = result_from_spans(document, document.spans, DEFAULT_LABEL_CONFIG)
    assert once == result_from_spans(document, document.spans * 2, DEFAULT_LABEL_CONFIG)
    assert once[0]["value"]["labels"] == ["Chemical"]
    assert "score" not in once[0]


@pytest.mark.parametrize(
    ("data", "hint", "found"),
    [
        ({"abstract": "a", "text": "b"}, None, "text"),
        ({"abstract": "a", "text": "b"}, "abstract", "abstract"),
        ({"abstract": "a", "year": 1999}, "body", "abstract"),
        ({"title": "a", "text": "b"}, "body", "text"),
    ],
)
def test_text_field_of_a_task(data: dict[str, Any], hint: str | None, found: str) -> None:
    assert find_text_key(data, "task 1", hint=hint) == found


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ({"a": "a", "b": "b"}, "2 texts"),
        ({"year": 1999}, "no texts"),
        (dict.fromkeys("abcdefgh", ""), "and 3 more"),
        (None, "no texts"),
    ],
)
def test_ambiguous_task_is_refused(data: object, value: str) -> None:
    with raises(FormatError, "task-text-not-unique") as refusal:
        find_text_key(data, "task 1")
    assert value in str(refusal.value)


@pytest.mark.parametrize(
    ("key", "data", "rest"),
    [
        ("a", {"a": "found", "b": 1}, {"b": 1}),
        ("a.b", {"a.b": "found", "a": {"b": "no"}}, {"a": {"b": "no"}}),
        ("a.b", {"a": {"b": "found"}, "b": "no"}, {"b": "no"}),
        ("a.b[1].c", {"a": {"b": [{"c": "no"}, {"c": "found"}]}}, {}),
        ("a[0]", {"a": ["found"]}, {}),
        ("a[0][1]", {"a": [["no", "found"]]}, {}),
        ("a.0.b", {"a": [{"b": "found"}]}, {}),
        ("a[b]", {"a": {"b": "found"}}, {}),
        ("{a}", {"{a}": "found"}, {}),
        (".a", {"": {"a": "found"}}, {}),
        ("a", {"b": "no"}, {"b": "no"}),
        ("a.b", {"a": "text"}, {}),
        ("a[0]", {"a": "text"}, {}),
        ("a[1]", {"a": ["no"]}, {}),
        ("a[-1]", {"a": ["no"]}, {}),
        ("a.length", {"a": ["no"]}, {}),
    ],
)
def test_value_by_key_or_path(key: str, data: dict[str, Any], rest: dict[str, Any]) -> None:
    assert (find_value(data, key) == "found") == ("found" in str(data))
    assert without_text(data, replace(CONFIG, data_key=key)) == rest


@given(st.from_regex(r"[a-z.\[\]{}0-9]{1,12}", fullmatch=True), st.text())
def test_value_is_found_where_it_was_placed(key: str, text: str) -> None:
    assert find_value(place_texts(Document("1", text), replace(CONFIG, data_key=key)), key) == text


def test_text_of_several_values_is_not_written() -> None:
    with raises(FormatError, "text-in-template"):
        place_texts(Document("1", "a"), replace(CONFIG, template="$title: $body"))


OTHERS = [replace(CONFIG, object=f"t{n}", data_key=f"report.notes[{n}].body") for n in (1, 0)]
TEXTS = replace(CONFIG, data_key="report.title", other_texts=tuple(OTHERS))


@given(st.lists(st.text(), min_size=3, max_size=3))
def test_several_texts_are_written_where_they_were_read(texts: list[str]) -> None:
    title, second, first = texts
    data = {"report": {"title": title, "notes": [{"body": first}, {"body": second}]}}
    document = TaskTextReader().read_document({"id": 1, "data": data}, TEXTS)
    assert document.text == "\n".join(texts)
    assert place_texts(document, TEXTS) == data
    assert without_text(data, TEXTS) == {}


def test_spans_are_written_into_their_texts() -> None:
    data = {"report": {"title": " ab cd ", "notes": [None, {"body": " ef"}]}}
    document = TaskTextReader().read_document({"id": 1, "data": data}, TEXTS)
    assert document.text == " ab cd \n ef\n"
    spans = [Span(1, 3, "CHEM"), Span(4, 11, "CHEM"), Span(9, 11, "CHEM")]
    items = result_from_spans(document, spans, TEXTS)
    assert [
        (item["to_name"], item["value"]["start"], item["value"]["end"], item["value"]["text"])
        for item in items
    ] == [("body", 1, 3, "ab"), ("body", 4, 6, "cd"), ("t1", 1, 3, "ef"), ("t1", 1, 3, "ef")]


@pytest.mark.parametrize("ranges", [None, {"body": [0, 1]}, dict.fromkeys(["body", "t1", "t0"], 7)])
def test_document_of_other_texts_is_refused(ranges: object) -> None:
    document = Document("1", "a", (Span(0, 1, "CHEM"),), {"text_ranges": ranges})
    with raises(FormatError, "text-ranges-missing"):
        result_from_spans(document, document.spans, TEXTS)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", ""),
        (12, "12"),
        (-7, "-7"),
        (2.5, "2.5"),
        (3.0, "3"),
        (2**53, None),
        (1e30, None),
        (1e-9, None),
        (float("nan"), None),
        (True, None),
        (None, None),
        (["a"], None),
        ({"a": "b"}, None),
    ],
)
def test_numbers_are_texts(value: object, shown: str | None) -> None:
    assert to_shown_text(value) == shown


def test_exports_with_addresses_of_texts_are_refused() -> None:
    for config in (CONFIG, replace(CONFIG, text_encoding="base64"), TEXTS):
        require_plain_text(config)
    url = replace(CONFIG, text_encoding="url")
    for config in (url, replace(TEXTS, other_texts=(CONFIG, url))):
        with raises(FormatError, "text-not-in-task"):
            require_plain_text(config)


@pytest.mark.parametrize(
    "item",
    [
        {"type": "choices", "value": {"choices": ["yes"]}},
        {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"},
        {"type": "textarea", "value": {"start": 0, "end": 3, "text": ["why"]}},
        {"type": "rectanglelabels", "value": {"x": 1, "y": 2, "rectanglelabels": ["Car"]}},
        {"type": "labels", "value": {"x": 1, "y": 2, "labels": ["Car"]}},
        {"type": "labels"},
    ],
)
def test_other_controls_are_not_spans(item: dict[str, Any]) -> None:
    assert not is_span_result(item, "task 1")


def test_hypertext_is_refused_with_advice() -> None:
    value = {"start": "/p[1]/text()[1]", "end": "/p[1]/text()[1]", "startOffset": 0, "endOffset": 3}
    for kind in ("labels", "hypertextlabels"):
        with raises(FormatError, "hypertext"):
            is_span_result({"type": kind, "value": {**value, "labels": ["A"]}}, "task 1")


def test_paragraphs_are_refused_with_advice() -> None:
    value = {"start": "0", "end": "1", "startOffset": 0, "endOffset": 3, "labels": ["A"]}
    for kind in ("labels", "paragraphlabels"):
        with raises(FormatError, "paragraphs"):
            is_span_result({"type": kind, "value": value}, "task 1")


def test_regions_are_read_unchanged() -> None:
    item = region("naloxone", 0, 8, "Chemical", "Drug")
    assert is_span_result(item, "task 1")
    assert raw_span_from_value(item["value"], "task 1") == RawSpan(
        0, 8, ("Chemical", "Drug"), "naloxone"
    )
    assert raw_span_from_value({"start": 5, "end": 2}, "task 1") == RawSpan(5, 2, ())


@pytest.mark.parametrize(
    "value",
    [
        {"start": 0.5, "end": 2.1, "labels": ["A"]},
        {"start": "0", "end": "2", "labels": ["A"]},
        {"start": None, "end": 2, "labels": ["A"]},
        {"start": 0, "end": 2, "labels": "A"},
        {"start": 0, "end": 2, "labels": [7]},
    ],
)
def test_malformed_regions_are_refused(value: dict[str, Any]) -> None:
    code = "region-labels-not-text" if value["start"] == 0 else "region-offsets-not-integers"
    with raises(FormatError, code):
        raw_span_from_value(value, "task 1")
