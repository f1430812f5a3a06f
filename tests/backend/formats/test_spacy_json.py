"""spaCy's JSON: its shapes, what is counted, and refused items."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.batch.files import open_source
from tagalong.ner.document import Document, Span
from tagalong.ner.errors import FormatError
from tagalong.training.corpus import Corpus, read_corpus, write_documents
from tests.errors import assert_wording, raises
from tests.odd_documents import odd_documents

TEXT = "Lithium caused tremor."
SPANS = (Span(0, 7, "Chemical"), Span(15, 21, "Disease"))
TRIPLES = [[0, 7, "Chemical"], [15, 21, "Disease"]]
PAIR = [TEXT, {"entities": TRIPLES}]
ENTS = [{"start": start, "end": end, "label": label} for start, end, label in TRIPLES]
TO_JSON = {"text": TEXT, "ents": ENTS, "tokens": [{"id": 0, "start": 0, "end": 7}]}
WORDS = [
    {"id": 0, "orth": "Lithium", "space": " ", "ner": "U-Chemical"},
    {"id": 1, "orth": "caused", "space": " ", "ner": "O"},
    {"id": 2, "orth": "tremor", "space": "", "ner": "U-Disease"},
    {"id": 3, "orth": ".", "space": "", "ner": "-"},
]


@pytest.fixture
def read(tmp_path: Path):
    def read(content: object) -> Corpus:
        path = tmp_path / "train.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return read_corpus([path])

    return read


def lines(*items: object) -> str:
    return "".join(json.dumps(item) + "\n" for item in items)


@pytest.mark.parametrize(
    "content",
    [
        [PAIR],
        json.dumps([PAIR], indent=1),
        lines(PAIR),
        [[TEXT, {"entities": [[*triple, ""] for triple in TRIPLES]}]],
        [{"text": TEXT, "entities": TRIPLES}],
        lines({"text": TEXT, "entities": TRIPLES}),
        [TO_JSON],
        lines(TO_JSON),
        json.dumps(TO_JSON, indent=1),
        {"classes": ["Chemical", "Disease"], "annotations": [PAIR]},
        json.dumps({"classes": [], "annotations": [PAIR]}, indent=1),
    ],
)
def test_shapes_are_read(read, content: object) -> None:
    corpus = read(content)
    assert [source.format for source in corpus.sources] == ["spaCy JSON"]
    assert [(one.id, one.text, one.spans) for one in corpus.documents] == [("train#1", TEXT, SPANS)]
    assert (corpus.dropped, corpus.warnings) == ((), ())


@pytest.mark.parametrize("raw", [{"raw": TEXT}, {"raw": None}, {}])
@pytest.mark.parametrize("is_array", [True, False])
def test_tokens_of_spacy_convert_are_read(read, raw: dict[str, Any], is_array: bool) -> None:
    paragraph = {**raw, "sentences": [{"tokens": WORDS[:2]}, {"tokens": WORDS[2:]}]}
    item = {"id": 4, "paragraphs": [paragraph]}
    (document,) = read([item] if is_array else json.dumps(item, indent=2)).documents
    assert (document.id, document.text, document.spans) == ("4", TEXT, SPANS)
    assert document.masked_ranges == ((21, 22),)


def test_white_space_tokens_are_read(read) -> None:
    tokens = [{"orth": "\n"}, {"orth": "renal", "ner": "B-D"}, {"orth": "failure", "ner": "L-D"}]
    paragraph = {"raw": "\n renal  failure", "sentences": [{"tokens": tokens}]}
    first, second = read([{"id": 0, "paragraphs": [paragraph, paragraph]}]).documents
    assert (first.id, second.id) == ("0#1", "0#2")
    assert first.spans == (Span(2, 16, "D"),)


def test_skipped_texts_and_overlapping_groups(read) -> None:
    corpus = read({"classes": [], "annotations": [None, PAIR]})
    assert {one.kind: one.count for one in corpus.warnings} == {"task without annotation": 1}
    spans = {"sc": [*ENTS, {"start": 0, "end": 21, "label": "Event"}]}
    (document,) = read([{**TO_JSON, "spans": spans}]).documents
    assert len(document.spans) == 3


@pytest.mark.parametrize(
    "item",
    [
        [
            TEXT,
            {"entities": [[0, 7, "Chemical", "Q1"]], "cats": {"a": 1, "b": 0}, "spans": {"x": [1]}},
        ],
        {
            **TO_JSON,
            "ents": [{**ENTS[0], "kb_id": "Q1"}],
            "cats": {"a": 1, "b": 0},
            "spans": {"sc": [], "x": ENTS[:1]},
        },
    ],
)
def test_what_is_left_out_is_counted(read, item: Any) -> None:
    corpus = read([item])
    assert [one.label for one in corpus.documents[0].spans] == ["Chemical"]
    assert {one.kind: one.count for one in corpus.warnings} == {
        "span group": 1, "concept id": 1, "other annotation": 2
    }  # fmt: skip


def test_missing_ids_are_those_of_the_file(read) -> None:
    nameless = {"id": None, "ents": 5, "paragraphs": [{"sentences": [{"tokens": WORDS}]}]}
    documents = read([nameless, {**TO_JSON, "id": ""}]).documents
    assert [one.id for one in documents] == ["train#1", "train#2"]


@pytest.mark.parametrize(
    ("second", "code"),
    [
        ([TEXT, {"entities": [["0", 7, "Chemical"]]}], "record-span-invalid"),
        ([TEXT, {"entities": ["Chemical"]}], "spacy-annotation-invalid"),
        ([7, {"entities": []}], "record-without-text"),
        ([TEXT, {"cats": {}}], "record-not-an-object"),
        ({"text": TEXT}, "record-without-list"),
        ({**TO_JSON, "spans": {"sc": True}}, "record-without-list"),
        ({"paragraphs": [7]}, "record-not-an-object"),
        ({"paragraphs": [{"sentences": [{"tokens": [{}]}]}]}, "spacy-token-invalid"),
        (
            {"paragraphs": [{"raw": "x", "sentences": [{"tokens": WORDS}]}]},
            "spacy-tokens-misaligned",
        ),
        (
            {"paragraphs": [{"sentences": [{"tokens": [{"orth": "x", "ner": "?"}]}]}]},
            "spacy-tag-invalid",
        ),
    ],
)
def test_item_of_another_shape_is_set_aside(read, tmp_path: Path, second: Any, code: str) -> None:
    corpus = read([PAIR, second, PAIR])
    assert [one.id for one in corpus.documents] == ["train#1", "train#3"]
    (warning,) = corpus.warnings
    assert (warning.kind, warning.count) == ("task set aside", 1)
    assert "train.json, item 2" in warning.examples[0]
    assert_wording(warning.examples[0], code)
    with open_source(tmp_path / "train.json") as source:
        assert [item.document is None for item in source] == [False, True, False]


def test_file_of_wrong_items_is_refused(read) -> None:
    with raises(FormatError, "spacy-annotation-invalid"):
        read([[TEXT, {"entities": ["Chemical"]}]])


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (json.dumps([PAIR])[:-1], "json-broken"),
        (json.dumps({"classes": [], "annotations": [PAIR]}, indent=1)[:-4], "json-broken-at-start"),
    ],
)
def test_truncated_file_is_refused(read, content: str, code: str) -> None:
    with raises(FormatError, code):
        read(content)


@given(st.lists(odd_documents(), min_size=1, max_size=4, unique_by=lambda one: one.id))
def test_documents_round_trip(
    tmp_path_factory: pytest.TempPathFactory, documents: list[Document]
) -> None:
    path = tmp_path_factory.mktemp("spacy") / "train.json"
    written = write_documents(documents, path, "spacy-json")
    assert {one.reason for one in written.dropped} <= {"overlap"}
    corpus = read_corpus([path])
    lost = {(one.document, one.start, one.end, one.label) for one in written.dropped}
    expected = [
        (
            one.text,
            tuple(
                span for span in one.spans if (one.id, span.start, span.end, span.label) not in lost
            ),
        )
        for one in documents
    ]
    read_again = {one.id: (one.text, one.spans) for one in corpus.documents}
    assert [read_again[f"train#{n}"] for n, _ in enumerate(documents, start=1)] == expected
    for _, spans in expected:
        assert all(one.end <= other.start for one, other in pairwise(spans))
