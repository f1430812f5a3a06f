"""doccano's JSON: each release's names, what is counted, and refused records."""

import json
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
OBJECTS = [
    {"id": 8, "start_offset": 0, "end_offset": 7, "label": "Chemical"},
    {"id": 9, "start_offset": 15, "end_offset": 21, "label": "Disease"},
]


@pytest.fixture
def read(tmp_path: Path):
    def read(*records: Any, end: str = "") -> Corpus:
        path = tmp_path / "all.jsonl"
        path.write_text("".join(json.dumps(one) + "\n" for one in records) + end)
        return read_corpus([path])

    return read


@pytest.mark.parametrize(
    "annotated",
    [
        {"text": TEXT, "label": TRIPLES},
        {"text": TEXT, "labels": TRIPLES},
        {"data": TEXT, "label": TRIPLES, "Comments": []},
        {"text": TEXT, "entities": OBJECTS},
        {"text": TEXT, "entities": OBJECTS, "relations": []},
    ],
)
def test_names_of_every_release_are_read(read, annotated: dict[str, Any]) -> None:
    corpus = read({"id": 3, **annotated, "pmid": "1"}, {**annotated, "meta": {"pmid": "2"}})
    assert [source.format for source in corpus.sources] == ["doccano"]
    assert [(one.id, one.text, one.spans) for one in corpus.documents] == [
        ("3", TEXT, SPANS),
        ("all#2", TEXT, SPANS),
    ]
    assert [one.meta["pmid"] for one in corpus.documents] == ["1", "2"]
    assert (corpus.dropped, corpus.warnings) == ((), ())


def test_first_record_may_have_no_annotations(read) -> None:
    first = {"id": None, "text": "a", "entities": [], "relations": []}
    corpus = read(first, {"text": TEXT, "label": TRIPLES})
    assert [(one.id, len(one.spans)) for one in corpus.documents] == [("all#1", 0), ("all#2", 2)]


def test_array_is_read(tmp_path: Path) -> None:
    path = tmp_path / "all.json"
    path.write_text(json.dumps([{"text": TEXT, "label": TRIPLES}], indent=1))
    assert [one.spans for one in read_corpus([path]).documents] == [SPANS]


def test_losses_are_counted(read) -> None:
    relation = {"id": 1, "from_id": 8, "to_id": 9, "type": "causes"}
    far = {"id": 7, "start_offset": 20, "end_offset": 90, "label": "Disease"}
    corpus = read({"text": TEXT, "entities": [*OBJECTS, far], "relations": [relation]})
    assert [(one.reason, one.end) for one in corpus.dropped] == [("offset outside the text", 90)]
    assert {one.kind: one.count for one in corpus.warnings} == {"relation": 1}


@pytest.mark.parametrize(
    ("second", "code"),
    [
        ({"text": TEXT, "label": ["positive"]}, "doccano-annotation-invalid"),
        ({"text": TEXT, "label": [["0", 7, "Chemical"]]}, "record-span-invalid"),
        ({"text": TEXT, "label": "Chemical"}, "record-without-list"),
        ({"text": TEXT}, "record-without-list"),
        ({"label": TRIPLES}, "record-without-text"),
    ],
)
def test_record_of_another_shape_is_set_aside(
    read, tmp_path: Path, second: dict[str, Any], code: str
) -> None:
    corpus = read({"text": TEXT, "label": TRIPLES}, second, {"text": TEXT, "label": []})
    assert [one.id for one in corpus.documents] == ["all#1", "all#3"]
    (warning,) = corpus.warnings
    assert (warning.kind, warning.count) == ("task set aside", 1)
    assert "all.jsonl, line 2" in warning.examples[0]
    assert_wording(warning.examples[0], code)
    with open_source(tmp_path / "all.jsonl") as source:
        assert [item.document is None for item in source] == [False, "text" not in second, False]


def test_file_of_wrong_records_is_refused(read) -> None:
    with raises(FormatError, "record-span-invalid"):
        read({"text": TEXT, "label": [["0", 7, "Chemical"]]})


@pytest.mark.parametrize("label", [["positive"], "positive", 1])
def test_labels_of_whole_texts_are_refused(read, label: object) -> None:
    with raises(FormatError, "format-unknown") as raised:
        read({"text": TEXT, "label": label})
    assert "labels of whole texts" in str(raised.value)


@given(st.lists(odd_documents(), min_size=1, max_size=4, unique_by=lambda one: one.id))
def test_documents_round_trip(
    tmp_path_factory: pytest.TempPathFactory, documents: list[Document]
) -> None:
    path = tmp_path_factory.mktemp("doccano") / "all.jsonl"
    assert write_documents(documents, path, "doccano").dropped == ()
    corpus = read_corpus([path])
    assert corpus.documents == tuple(documents)
    assert corpus.dropped == ()


def test_masked_ranges_are_counted_as_lost(tmp_path: Path) -> None:
    document = Document("1", TEXT, SPANS, {"pmid": "7"}, masked_ranges=((8, 14),))
    path = tmp_path / "all.jsonl"
    assert write_documents([document], path, "doccano").masked_range_count == 1
    (read_again,) = read_corpus([path]).documents
    assert (read_again.spans, read_again.meta) == (SPANS, {"pmid": "7"})
