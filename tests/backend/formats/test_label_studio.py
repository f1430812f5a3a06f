"""Label Studio exports, JSON and JSON_MIN: annotators, offsets and dropped content."""

import json
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.batch.files import open_source
from tagalong.backend.formats.file_format import ReadOptions
from tagalong.backend.formats.registry import WRITERS, read_predictions
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.results import place_texts
from tagalong.backend.label_studio.task_text import TaskTextReader
from tagalong.ner.document import Document, Prediction, Span
from tagalong.ner.errors import FormatError, InputError
from tagalong.training.corpus import Corpus, read_corpus
from tests.errors import raises
from tests.odd_documents import annotation, in_utf16, odd_documents, region, task

SAMPLES = Path(__file__).parents[2] / "samples"
NAMES = {"Chemical": "CHEM", "CHEM": "CHEM", "Disease": "Disease"}
CONFIG = LabelConfig("label", "text", "text", ("CHEM", "Disease"), NAMES)
TEXT = "Naloxone reverses the antihypertensive effect of clonidine."
ASTRAL = "😀 Naloxone"
NALOXONE = region(TEXT, 0, 8, "Chemical")
CLONIDINE = region(TEXT, 49, 58, "Chemical")


@pytest.fixture
def read(tmp_path: Path):
    def read(*tasks: Any, config: LabelConfig | None = None) -> Corpus:
        path = tmp_path / "export"
        path.write_text(json.dumps(tasks), encoding="utf-8")
        return read_corpus([path], ReadOptions(label_config=config))

    return read


def judged(corpus: Corpus) -> dict[str, int]:
    return {warning.kind: warning.count for warning in corpus.warnings}


def truth_of(name: str) -> dict[str, Document]:
    documents = read_corpus([SAMPLES / name]).documents
    return {document.id: document for document in documents}


def test_real_json_export() -> None:
    """Made by Label Studio 1.23.2: three annotators, a cancelled one, ground truth, a draft."""
    corpus = read_corpus([SAMPLES / "label_studio.json"])
    gold = truth_of("bc5cdr.jsonl")
    assert [source.format for source in corpus.sources] == ["Label Studio JSON"]
    by_pmid = {document.meta["pmid"]: document for document in corpus.documents}
    assert len(corpus.documents) == 6
    for name in ("10342929", "4008111", "3403780", "354896"):
        assert (by_pmid[name].text, by_pmid[name].spans) == (gold[name].text, gold[name].spans)
    assert "2522601" not in by_pmid  # only a draft: not annotated, so not read
    assert [lost.text for lost in corpus.dropped] == ["sinus", "sinus bradycardia."]
    assert judged(corpus) == {
        "cancelled annotation": 1,
        "draft": 1,
        "task without annotation": 1,
        "set aside": 1,
        "relation": 1,
        "other annotation": 1,
    }


def test_real_json_min_export() -> None:
    """The same project; JSON_MIN knows neither cancelled annotations nor ground truth."""
    whole = {one.id: one for one in read_corpus([SAMPLES / "label_studio.json"]).documents}
    corpus = read_corpus([SAMPLES / "label_studio_min.json"])
    assert [source.format for source in corpus.sources] == ["Label Studio JSON_MIN"]
    assert [document.id for document in corpus.documents] == list(whole)
    different = [document.id for document in corpus.documents if document != whole[document.id]]
    assert different == ["15"]  # two annotators disagree, and JSON_MIN lacks the ground truth mark
    odd = next(document for document in corpus.documents if "😀" in document.text)
    assert [odd.span_text(span) for span in odd.spans] == [
        "Naloxone",
        "clonidine  toxicity",
        "clonidine",
    ]


@pytest.mark.parametrize("strategy", ["majority", "latest", "all"])
def test_exports_agree_for_every_annotator_strategy(strategy: Any) -> None:
    options = ReadOptions(annotator_policy=strategy)
    exports = [read_corpus([SAMPLES / name], options) for name in
               ("label_studio.json", "label_studio_min.json")]  # fmt: skip
    whole, flat = [
        {document.id: document for document in corpus.documents if not document.id.startswith("15")}
        for corpus in exports
    ]
    assert whole == flat


def drawn(text: str, *spans: Span, utf16: bool) -> dict[str, Any]:
    """An annotation whose offsets count UTF-16 units, as in old exports, or code points."""
    items = [region(text, one.start, one.end, one.label) for one in spans]
    for item in items if utf16 else ():
        value = item["value"]
        value["start"] = in_utf16(text, value["start"])
        value["end"] = in_utf16(text, value["end"])
    return annotation(*items)


@given(odd_documents(), st.booleans())
def test_tasks_round_trip(
    tmp_path_factory: pytest.TempPathFactory, document: Document, utf16: bool
) -> None:
    path = tmp_path_factory.mktemp("odd") / "export.json"
    exported = [task(document.text, drawn(document.text, *document.spans, utf16=utf16))]
    path.write_text(json.dumps(exported, ensure_ascii=False), encoding="utf-8")
    corpus = read_corpus([path])
    assert corpus.dropped == ()
    if utf16 and "offsets ambiguous" in judged(corpus):
        return  # one task cannot decide, which is reported
    assert judged(corpus).keys() <= {"UTF-16 offsets" if utf16 else "offsets ambiguous"}
    assert [one.spans for one in corpus.documents] == [document.spans]


@given(odd_documents(), st.booleans(), st.booleans())
def test_offset_unit_is_taken_from_the_whole_export(
    tmp_path_factory: pytest.TempPathFactory, document: Document, utf16: bool, first: bool
) -> None:
    telling = task(ASTRAL, drawn(ASTRAL, Span(2, 10, "Chemical"), utf16=utf16), number="telling")
    other = task(document.text, drawn(document.text, *document.spans, utf16=utf16), number="other")
    path = tmp_path_factory.mktemp("odd") / "export.json"
    path.write_text(json.dumps([telling, other] if first else [other, telling]), encoding="utf-8")
    corpus = read_corpus([path])
    assert judged(corpus).keys() <= ({"UTF-16 offsets"} if utf16 else set())
    spans = {one.id: one.spans for one in corpus.documents}
    assert spans == {"telling": (Span(2, 10, "Chemical"),), "other": document.spans}


REPEATED = "😀😀 a a"  # from 5 to 6: the second a in code points, the first one in UTF-16 units


@pytest.mark.parametrize(
    ("others", "start", "kinds"),
    [
        ([], 5, {"offsets ambiguous": 1}),
        ([False], 5, {}),
        ([True], 3, {"UTF-16 offsets": 2}),
        ([True, False], 5, {"offsets ambiguous": 1, "UTF-16 offsets": 1}),
    ],
)
def test_ambiguous_offset_units_are_reported(
    read, others: list[bool], start: int, kinds: dict[str, int]
) -> None:
    repeated = task(REPEATED, annotation(region(REPEATED, 5, 6, "Gene")))
    told = [
        task(ASTRAL, drawn(ASTRAL, Span(2, 10, "Chemical"), utf16=utf16), number=f"{utf16}")
        for utf16 in others
    ]
    corpus = read(repeated, *told)
    assert corpus.documents[0].spans == (Span(start, start + 1, "Gene"),)
    assert judged(corpus) == kinds


def test_offset_unit_is_reported_once(read) -> None:
    repeated = task(REPEATED, annotation(region(REPEATED, 5, 6, "Gene")))
    unlabelled = task(ASTRAL, drawn(ASTRAL, utf16=False), drafts=[{}], number=2)
    assert judged(read(repeated, unlabelled)) == {"draft": 1, "offsets ambiguous": 1}


def test_json_min_offset_unit_is_taken_from_the_whole_export(read) -> None:
    def item(text: str, start: int, end: int, covered: str, number: int) -> dict[str, Any]:
        spans = [{"start": start, "end": end, "text": covered, "labels": ["Gene"]}]
        who = {"annotator": "a@example.com", "annotation_id": number, "lead_time": 1.0}
        return {"text": text, "id": number, "label": spans, **who}

    corpus = read(item(REPEATED, 5, 6, "a", 1), item(ASTRAL, 3, 11, "Naloxone", 2))
    assert [one.spans[0].start for one in corpus.documents] == [3, 2]
    assert judged(corpus) == {"UTF-16 offsets": 2}
    assert judged(read(item(REPEATED, 5, 6, "a", 1))) == {"offsets ambiguous": 1}


def test_old_export_with_completions_and_skipped(read) -> None:
    old = {
        "id": 3,
        "data": {"text": TEXT},
        "completions": [
            {"id": 3001, "created_at": 1603456789, "result": [NALOXONE], "lead_time": 3.1},
            {"id": 3002, "created_at": 1603456799, "skipped": True, "result": []},
        ],
    }
    corpus = read(old)
    assert corpus.documents == (Document("3", TEXT, (Span(0, 8, "Chemical"),)),)
    assert judged(corpus) == {"cancelled annotation": 1}


def test_empty_annotation_counts_as_annotated(read) -> None:
    corpus = read(task(TEXT, annotation(), number=1), task("Other.", number=2))
    assert corpus.documents == (Document("1", TEXT),)
    assert judged(corpus) == {"task without annotation": 1}


@pytest.mark.parametrize(("drafts", "count"), [(3, 1), ({"id": 1}, 1), ([{}, {}], 2), ([], 0)])
def test_drafts_are_skipped_and_counted(read, drafts: Any, count: int) -> None:
    corpus = read(task(TEXT, annotation(NALOXONE), drafts=drafts))
    assert [len(document.spans) for document in corpus.documents] == [1]
    assert judged(corpus) == ({"draft": count} if count else {})


def test_other_controls_and_relations_are_counted(read) -> None:
    others = [
        {"type": "choices", "from_name": "sure", "to_name": "text", "value": {"choices": ["y"]}},
        {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"},
        {"type": "textarea", "from_name": "why", "to_name": "text", "value": {"text": ["so"]}},
    ]
    corpus = read(task(TEXT, annotation(NALOXONE, *others)))
    assert [len(document.spans) for document in corpus.documents] == [1]
    assert (corpus.dropped, judged(corpus)) == ((), {"relation": 1, "other annotation": 2})


def test_controls_are_merged_and_counted_without_config(read) -> None:
    parts = region(TEXT, 0, 59, "Title", from_name="parts")
    tasks = task(TEXT, annotation(NALOXONE, parts))
    assert judged(read(tasks)) == {"several controls": 1}
    corpus = read(tasks, config=CONFIG)
    assert [span.label for span in corpus.documents[0].spans] == ["CHEM"]
    assert [warning.examples for warning in corpus.warnings] == [("1: parts",)]


def test_config_sets_labels_and_their_order(read) -> None:
    labelled = annotation(NALOXONE, region(TEXT, 49, 58, "CHEM"), region(TEXT, 22, 38, "Gene"))
    corpus = read(task(TEXT, labelled), config=CONFIG)
    assert corpus.labels == ("CHEM", "Disease")
    assert [span.label for span in corpus.documents[0].spans] == ["CHEM", "CHEM"]
    assert [(lost.label, lost.reason) for lost in corpus.dropped] == [("Gene", "label unknown")]


def test_labels_are_sorted_without_config(read) -> None:
    corpus = read(task(TEXT, annotation(region(TEXT, 0, 8, "b"), region(TEXT, 49, 58, "a"))))
    assert corpus.labels == ("a", "b")


def test_control_may_have_any_name(read) -> None:
    odd = region(TEXT, 49, 58, "Chemical", from_name=["label"])
    corpus = read(task(TEXT, annotation(NALOXONE, odd)))
    assert len(corpus.documents[0].spans) == 2
    assert judged(corpus) == {"several controls": 1}


def test_other_data_fields_become_metadata(read) -> None:
    wide = task(TEXT, annotation(NALOXONE))
    wide["data"] |= {"pmid": "227508", "year": 1979, "scores": [0.5]}
    corpus = read(wide)
    assert corpus.documents[0].meta == {"pmid": "227508", "year": 1979, "scores": [0.5]}


def test_text_field_is_found_by_region(read) -> None:
    other = {**NALOXONE, "to_name": "abstract"}
    wide = task("A title", annotation(other))
    wide["data"]["abstract"] = TEXT
    assert read(wide).documents[0].text == TEXT
    wide["annotations"][0]["result"].append(CLONIDINE)
    with raises(FormatError, "task-with-several-objects") as raised:
        read(wide)
    assert "'abstract', 'text'" in str(raised.value)


def test_annotators_may_be_objects(read) -> None:
    first = annotation(NALOXONE, by={"id": 5, "email": "a@example.com"})
    corpus = read(task(TEXT, first, annotation(NALOXONE, CLONIDINE, by={"id": 5})))
    assert len(corpus.documents[0].spans) == 2
    assert judged(corpus) == {"set aside": 1}


@pytest.mark.parametrize(
    ("tasks", "code"),
    [
        ([task(TEXT)], "file-without-annotations"),
        ([{"data": {"text": TEXT}}], "file-without-annotations"),
        ([task(TEXT, annotation(was_cancelled=True))], "file-without-annotations"),
        ([task(TEXT), 7], "record-not-an-object"),
        ([{**task(TEXT), "annotations": {"a": 1}}], "task-annotations-not-a-list"),
        ([{**task(TEXT), "annotations": [1]}], "task-annotations-not-a-list"),
        ([task(TEXT, {"result": "none"})], "task-result-not-a-list"),
        ([task(TEXT, {"result": ["none"]})], "task-result-not-a-list"),
        ([{"id": 4, "data": {"n": 7}, "annotations": [annotation()]}], "task-text-not-unique"),
        (
            [task(TEXT, annotation({"type": "hypertextlabels", "value": {"start": "/p"}}))],
            "hypertext",
        ),
    ],
)
def test_bad_exports_are_refused(read, tasks: list[Any], code: str) -> None:
    with raises(FormatError, code) as raised:
        read(*tasks)
    assert "\n" not in str(raised.value)


def test_json_min_uses_control_of_config(read) -> None:
    spans = [{"start": 0, "end": 8, "text": "Naloxone", "labels": ["Chemical"]}]
    item = {
        "text": TEXT,
        "id": 9,
        "label": spans,
        "parts": [{"start": 0, "end": 59, "text": TEXT, "labels": ["Title"]}],
        "notes": ["a", "b"],
        "annotator": "a@example.com",
        "annotation_id": 3,
        "updated_at": "2026-11-22T18:08:35.192592Z",
        "lead_time": None,
    }
    corpus = read(item, config=CONFIG)
    assert corpus.documents == (Document("9", TEXT, (Span(0, 8, "CHEM"),)),)
    assert judged(corpus) == {"another control": 1}
    assert judged(read(item)) == {"several controls": 1}


@pytest.mark.parametrize("key", ["report.body", "report", "$undefined$", "notes[1].body"])
def test_text_is_read_by_the_path_of_the_config(read, key: str) -> None:
    config = replace(CONFIG, data_key="text" if key == "$undefined$" else key)
    data = {"pmid": 7, **place_texts(Document("9", TEXT), replace(config, data_key=key))}
    exported = {"id": 9, "data": data, "annotations": [annotation(NALOXONE)]}
    flat = {**data, "id": 9, "annotator": 1, "annotation_id": 3, "lead_time": 1.5}
    for item in (exported, {**flat, "label": [NALOXONE["value"]]}):
        (document,) = read(item, config=config).documents
        assert document == Document("9", TEXT, (Span(0, 8, "CHEM"),))
        assert document.meta["pmid"] == 7
        assert TEXT not in str(document.meta)


def test_text_of_several_values_is_read(read) -> None:
    config = replace(CONFIG, data_key="Title: $a. $b", template="Title: $a. $b")
    joined = "Title: Naloxone toxicity"
    item = {"id": 9, "data": {"a": "Naloxone", "b": "toxicity"}}
    item["annotations"] = [annotation(region(joined, 7, 15, "Chemical"))]
    (document,) = read(item, config=config).documents
    assert document == Document("9", joined, (Span(7, 15, "CHEM"),))


def test_json_min_without_annotations_is_refused(read) -> None:
    empty = {"text": TEXT, "id": 9, "annotator": None, "annotation_id": None, "lead_time": None}
    with raises(FormatError, "file-without-annotations"):
        read(empty)
    with raises(FormatError, "not-an-annotation"):
        read(empty, [])


def test_addresses_of_texts_are_refused() -> None:
    with raises(FormatError, "text-not-in-task"):
        ReadOptions(label_config=replace(CONFIG, text_encoding="url"))


def test_base64_texts_are_decoded(read) -> None:
    encoded = b64encode(TEXT.encode()).decode()
    config = replace(CONFIG, text_encoding="base64unicode")
    (document,) = read(task(encoded, annotation(NALOXONE)), config=config).documents
    assert document == Document("1", TEXT, (Span(0, 8, "CHEM"),))


TITLE_AND_BODY = replace(CONFIG, object="title", data_key="title", other_texts=(CONFIG,))


def test_regions_are_read_in_the_text_that_they_name(read) -> None:
    title = "\U0001f600 Lithium and naloxone"
    in_title = region(title, 2, 9, "Chemical", to_name="title")
    unknown = {**region(title, 14, 22, to_name="title"), "type": "choices"}
    unknown["value"] = {"start": 14, "end": 22, "text": "naloxone", "choices": ["x"]}
    elsewhere = region(TEXT, 0, 8, "Chemical", to_name="image")
    both = annotation(in_title, NALOXONE, unknown, elsewhere)
    item = {"id": 9, "data": {"title": title, "text": TEXT, "year": 1}, "annotations": [both]}
    single = {"id": 10, "data": {"text": TEXT}, "annotations": [annotation(CLONIDINE)]}
    corpus = read(item, single, config=TITLE_AND_BODY)
    assert corpus.documents == (
        Document("9@title", title, (Span(2, 9, "CHEM"),), masked_ranges=((14, 22),)),
        Document("9@text", TEXT, (Span(0, 8, "CHEM"),)),
        Document("10@text", TEXT, (Span(49, 58, "CHEM"),)),
    )
    assert [document.meta for document in corpus.documents] == [{"year": 1}, {"year": 1}, {}]
    assert judged(corpus)["another control"] == 1


def test_task_without_any_of_its_texts_is_set_aside(read) -> None:
    empty = {"id": 10, "data": {"year": 1}, "annotations": [annotation()]}
    corpus = read(task(TEXT, annotation(NALOXONE)), empty, config=TITLE_AND_BODY)
    assert [document.id for document in corpus.documents] == ["1@text"]
    assert judged(corpus)["task set aside"] == 1


def test_predictions_are_read_in_the_text_that_they_name(tmp_path: Path) -> None:
    title = "Lithium"
    result = [region(title, 0, 7, "Chemical", to_name="title"), CLONIDINE]
    about = {"model_version": "v1", "score": 0.5}
    tasks = [
        {"id": 9, "data": {"title": title, "text": TEXT}, "predictions": [{"result": result}]},
        {"id": 10, "data": {"text": TEXT}, "predictions": [{"result": [], **about}]},
    ]
    path = tmp_path / "predicted.json"
    path.write_text(json.dumps(tasks), encoding="utf-8")
    read = read_predictions(path, ReadOptions(label_config=TITLE_AND_BODY))
    assert [(document.id, document.text, predicted.spans) for document, predicted in read] == [
        ("9@title", title, (Span(0, 7, "Chemical"),)),
        ("9@text", TEXT, (Span(49, 58, "Chemical"),)),
        ("10@text", TEXT, ()),
    ]
    assert (read[2][1].version, read[2][1].score) == ("v1", 0.5)


def test_predictions_in_lines_are_divided_by_text(tmp_path: Path) -> None:
    data = {"title": "Lithium", "text": TEXT}
    document = TaskTextReader().read_document({"id": 9, "data": data}, TITLE_AND_BODY)
    spans = (Span(0, 16, "CHEM", 0.5), Span(57, 66, "CHEM", 0.5))
    lost = (document.drop_span(Span(17, 25, "Gene"), "label unknown"),)
    write = WRITERS["jsonl"].serialize_prediction
    assert write is not None
    path = tmp_path / "predicted.jsonl"
    path.write_text(write(document, Prediction(spans, 0.5, "v1", dropped=lost), TITLE_AND_BODY))
    found = read_predictions(path)
    assert [(one.id, one.text, predicted.spans, predicted.version) for one, predicted in found] == [
        ("9@title", "Lithium", (Span(0, 7, "CHEM"),), "v1"),
        ("9@text", TEXT, (Span(0, 8, "CHEM"), Span(49, 58, "CHEM")), "v1"),
    ]
    assert [[(one.start, one.document) for one in predicted.dropped] for _, predicted in found] == [
        [],
        [(9, "9@text")],
    ]


MIN_ITEM = {
    "id": 9,
    "annotator": 1,
    "annotation_id": 3,
    "lead_time": 1.5,
    "title": "Lithium",
    "text": TEXT,
}


def test_json_min_does_not_say_the_text_of_a_region(read) -> None:
    with raises(FormatError, "regions-without-object"):
        read(MIN_ITEM, config=TITLE_AND_BODY)


def test_json_min_names_the_control_of_each_text(read) -> None:
    config = replace(TITLE_AND_BODY, control="title_label")
    in_title = {"start": 0, "end": 7, "text": "Lithium", "labels": ["Chemical"]}
    drawn = {"title_label": [in_title], "label": [NALOXONE["value"]], "other": [in_title]}
    odd = {"grade": [{"start": 0, "end": 3, "text": "Lit", "choices": ["x"]}]}
    corpus = read(MIN_ITEM | drawn, MIN_ITEM | {"id": 10} | drawn | odd, config=config)
    assert corpus.documents == (
        Document("9@title", "Lithium", (Span(0, 7, "CHEM"),)),
        Document("9@text", TEXT, (Span(0, 8, "CHEM"),)),
    )
    assert judged(corpus) == {"another control": 2, "task set aside": 1}


def drawn_at(start: int, end: int, stated: object = "", **more: Any) -> dict[str, Any]:
    """A region that states its offsets and text freely."""
    value = {"start": start, "end": end, "text": stated, "labels": ["Chemical"]}
    return {"from_name": "label", "to_name": "text", "type": "labels", "value": value, **more}


def kept_texts(corpus: Corpus) -> list[list[str]]:
    return [[one.span_text(span) for span in one.spans] for one in corpus.documents]


@pytest.mark.parametrize(
    ("text", "regions", "expected", "kind"),
    [
        (
            "Aspirin.\r\nNo fever.\r\nTremor.",
            [drawn_at(0, 7, "Aspirin"), drawn_at(12, 17, "fever"), drawn_at(19, 25, "Tremor")],
            ["Aspirin", "fever", "Tremor"],
            "CRLF counted as one",
        ),
        ("A \U0001f600\U0001f600 b\r\ncd", [drawn_at(9, 11, "cd")], ["cd"],
         "UTF-16 offsets, CRLF counted as one"),
        ("Line\nTremor", [drawn_at(6, 12, "Tremor")], ["Tremor"], "LF counted as two"),
        ("nai\u0308ve fever", [drawn_at(6, 11, "fever")], ["fever"], "NFC offsets"),
        ("\u00e9\u2014 fever", [drawn_at(4, 9, "fever")], ["fever"], "NFD offsets"),
        ("A &amp; warfarin", [drawn_at(4, 12, "warfarin")], ["warfarin"],
         "HTML entities counted as one"),
        ("A & warfarin", [drawn_at(8, 16, "warfarin")], ["warfarin"], "HTML escapes counted"),
        ("\u00c5 \u20ac warfarin", [drawn_at(7, 15, "warfarin")], ["warfarin"], "byte offsets"),
        (" \n Aspirin", [drawn_at(0, 7, "Aspirin")], ["Aspirin"],
         "leading white space not counted"),
        ("Aspirin", [drawn_at(1, 8, "Aspirin")], ["Aspirin"], "shifted offsets"),
        ("Aspirin fever", [drawn_at(0, 6, "Aspirin"), drawn_at(8, 12, "fever")],
         ["Aspirin", "fever"], "shifted offsets"),
    ],
)  # fmt: skip
def test_counting_that_fits_all_texts_is_taken(read, text, regions, expected, kind) -> None:
    corpus = read(task(text, annotation(*regions)))
    assert kept_texts(corpus) == [expected]
    assert judged(corpus) == {kind: 1}


def test_regions_without_text_follow_the_counting_of_the_export(read) -> None:
    unstated = task("No.\r\nfever", annotation(drawn_at(4, 9)), number=1)
    plain = task("Aspirin", annotation(drawn_at(0, 7, "Aspirin")), number=2)
    telling = task("No.\r\nfever", annotation(drawn_at(4, 9, "fever")), number=3)
    for tasks in ([unstated, plain, telling], [telling, unstated, plain]):
        corpus = read(*tasks)
        assert sorted(kept_texts(corpus)) == [["Aspirin"], ["fever"], ["fever"]]
        assert judged(corpus) == {"CRLF counted as one": 2}
    assert judged(read(unstated, plain))["offsets unchecked"] == 1


def test_region_that_contradicts_its_text_is_lost_and_its_stretch_unknown(read) -> None:
    corpus = read(task(TEXT, annotation(NALOXONE, drawn_at(49, 58, "fever"))))
    assert kept_texts(corpus) == [["Naloxone"]]
    assert [(lost.text, lost.reason) for lost in corpus.dropped] == [("fever", "text differs")]
    assert corpus.documents[0].masked_ranges == ((49, 58),)


def test_stated_text_may_be_a_list(read) -> None:
    good, bad = drawn_at(0, 8, ["Naloxone"]), drawn_at(49, 58, ["fever", "x"])
    corpus = read(task(TEXT, annotation(good, bad)))
    assert kept_texts(corpus) == [["Naloxone"]]
    assert [lost.text for lost in corpus.dropped] == ["fever x"]


@pytest.mark.parametrize("config", [None, CONFIG])
def test_text_that_all_regions_fit_is_taken(read, config) -> None:
    wrong = task("Case note seven of ward", annotation(NALOXONE), number=1)
    alike = task("Naloxone study", annotation(NALOXONE), number=2)
    for one in (wrong, alike):
        one["data"]["report"] = {"body": TEXT, "title": "T"}
    corpus = read(alike, wrong, config=config)
    assert [one.text for one in corpus.documents] == [TEXT, TEXT]
    assert kept_texts(corpus) == [["Naloxone"], ["Naloxone"]]
    assert judged(corpus) == {"another text": 2}


def test_export_whose_texts_all_regions_contradict_is_refused(read) -> None:
    with raises(InputError, "task-with-another-text"):
        read(task("Case note seven", annotation(CLONIDINE)))


@pytest.mark.parametrize(
    "odd",
    [
        task(None, annotation()),  # type: ignore[arg-type]
        task(["a"], annotation()),  # type: ignore[arg-type]
        {"id": 9, "annotations": [annotation()]},
        task(TEXT, annotation(drawn_at(0, 8, "fever"))),
        task("\U0001f600 aspirin", annotation(drawn_at(4, 9, "spir"))),
        task(TEXT, annotation(drawn_at("0", 8))),  # type: ignore[arg-type]
        task(TEXT, annotation({**NALOXONE, "value": {"start": 0, "end": 8, "labels": "x"}})),
        task(TEXT, {"result": "none"}),
        task(TEXT, 7),  # type: ignore[arg-type]
        task("/data/upload/1/a.txt", annotation(drawn_at(2, 9))),
        "no task",
        None,
    ],
)
@pytest.mark.parametrize("config", [None, CONFIG])
def test_one_odd_task_is_set_aside(read, odd: Any, config) -> None:
    usual = [task(TEXT, annotation(NALOXONE), number=number) for number in (1, 2)]
    if isinstance(odd, dict):
        odd = {**odd, "id": 9}
    corpus = read(usual[0], odd, usual[1], config=config)
    assert [one.id for one in corpus.documents] == ["1", "2"]
    (warning,) = corpus.warnings
    assert (warning.kind, warning.count) == ("task set aside", 1)
    assert isinstance(odd, str | None) or "task 9 " in warning.examples[0]


def test_number_is_a_text(read) -> None:
    corpus = read(task(TEXT, annotation(NALOXONE)), task(12.0, annotation(), number=2))  # type: ignore[arg-type]
    assert [one.text for one in corpus.documents] == [TEXT, "12"]
    assert corpus.warnings == ()


def test_export_of_addresses_is_refused(read) -> None:
    with raises(FormatError, "task-with-address"):
        read(task("/data/upload/1/3f2a-cookbook.txt", annotation(drawn_at(2, 9))))
    address = "https://example.org/a"
    corpus = read(task(address, annotation(drawn_at(8, 19, "example.org"))))
    assert kept_texts(corpus) == [["example.org"]]  # what the annotator saw was the address


TAXONOMY = {
    "id": "t",
    "from_name": "tax",
    "to_name": "text",
    "type": "taxonomy",
    "value": {"start": 49, "end": 58, "text": "clonidine", "taxonomy": [["Chem", "Drug"]]},
}


@pytest.mark.parametrize("config", [None, CONFIG])
def test_regions_of_other_kinds_are_counted_and_masked(read, config) -> None:
    comment = {"value": {"start": 0, "end": 8, "text": ["sure"]}, "type": "textarea"}
    same_region = {**comment, "id": NALOXONE["id"]}
    corpus = read(task(TEXT, annotation(NALOXONE, same_region, TAXONOMY)), config=config)
    assert kept_texts(corpus) == [["Naloxone"]]
    assert corpus.documents[0].masked_ranges == ((49, 58),)
    assert judged(corpus) == {"region of another kind": 1, "other annotation": 1}


def test_json_min_regions_of_other_kinds_are_counted_and_masked(read) -> None:
    who = {"annotator": "a@example.com", "annotation_id": 1, "lead_time": 1.0}
    item = {"text": TEXT, "id": 1, "label": [NALOXONE["value"]], "tax": [TAXONOMY["value"]], **who}
    corpus = read(item, {"id": 2, "text": None, "label": [], **who})
    assert corpus.documents[0].masked_ranges == ((49, 58),)
    assert judged(corpus) == {"region of another kind": 1, "task set aside": 1}


def test_several_annotators_may_count_otherwise(read) -> None:
    text = "\U0001f600 Naloxone and clonidine"
    old = drawn(text, Span(2, 10, "Chemical"), utf16=True)
    new = drawn(text, Span(2, 10, "Chemical"), Span(15, 24, "Chemical"), utf16=False)
    corpus = read(task(text, {**old, "completed_by": 1}, {**new, "completed_by": 2}))
    assert kept_texts(corpus) == [["Naloxone"]]
    assert judged(corpus) == {"UTF-16 offsets": 1}


def test_flat_export_gives_the_reason_for_a_missing_text(tmp_path: Path) -> None:
    who = {"annotator": "a@example.com", "annotation_id": 1, "lead_time": 1.0, "label": []}
    path = tmp_path / "export.json"
    path.write_text(json.dumps([{"text": TEXT, "id": 1, **who}, {"text": None, "id": 2, **who}]))
    with open_source(path) as source:
        first, second = source
    assert first.document == Document("1", TEXT)
    assert (second.key, second.document) == ("2", None)
    assert "task 2 " in second.read_error


def test_address_is_no_text_to_predict(tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    texts = {7: "/data/upload/1/a.txt", 8: TEXT}
    path.write_text(json.dumps([{"id": key, "data": {"text": one}} for key, one in texts.items()]))
    with open_source(path) as source:
        first, second = source
    assert first.document is None
    assert "address" in first.read_error
    assert second.document == Document("8", TEXT)
