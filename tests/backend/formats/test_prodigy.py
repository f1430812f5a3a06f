"""Prodigy's JSON lines: answers, people, stated texts, and refused records."""

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
LITHIUM = {"start": 0, "end": 7, "label": "Chemical"}
TREMOR = {"start": 15, "end": 21, "label": "Disease"}
TOKENS = [
    {"text": "Lithium", "start": 0, "end": 7, "id": 0},
    {"text": "caused", "start": 8, "end": 14, "id": 1},
    {"text": "tremor", "start": 15, "end": 21, "id": 2},
    {"text": ".", "start": 21, "end": 22, "id": 3},
]


def answer(*spans: dict[str, Any], **more: Any) -> dict[str, Any]:
    hashes = {"_input_hash": 5, "_task_hash": 6, "_view_id": "ner_manual"}
    return {"text": TEXT, "spans": list(spans), "answer": "accept", **hashes, **more}


@pytest.fixture
def read(tmp_path: Path):
    def read(*records: Any) -> Corpus:
        path = tmp_path / "all.jsonl"
        path.write_text("".join(json.dumps(one) + "\n" for one in records))
        return read_corpus([path])

    return read


def counts(corpus: Corpus) -> dict[str, int]:
    return {warning.kind: warning.count for warning in corpus.warnings}


def test_accepted_spans_are_read(read) -> None:
    span = {**LITHIUM, "token_start": 0, "token_end": 0}
    corpus = read(answer(span, tokens=TOKENS, meta={"pmid": "1"}, html="<b>Lithium</b>"))
    assert [source.format for source in corpus.sources] == ["Prodigy"]
    (document,) = corpus.documents
    assert (document.id, document.spans) == ("5", (Span(0, 7, "Chemical"),))
    assert document.meta == {"pmid": "1", "html": "<b>Lithium</b>"}
    assert (corpus.dropped, corpus.warnings) == ((), ())


def test_other_answers_are_counted(read, tmp_path: Path) -> None:
    corpus = read(
        answer(LITHIUM),
        answer(TREMOR, _input_hash=7, answer="reject"),
        answer(TREMOR, _input_hash=8, answer="ignore"),
    )
    assert [(one.id, len(one.spans)) for one in corpus.documents] == [("5", 1)]
    assert counts(corpus) == {"not accepted": 2}
    with open_source(tmp_path / "all.jsonl") as source:
        assert [item.key for item in source] == ["5", "7", "8"]


def test_tasks_without_answers_are_annotations(read) -> None:
    corpus = read({"text": TEXT, "spans": [LITHIUM]}, {"text": "None."})
    assert [(one.id, len(one.spans)) for one in corpus.documents] == [("all#1", 1), ("all#2", 0)]


def test_yes_or_no_question_leaves_the_rest_unknown(read) -> None:
    binary = {"_is_binary": True, "_view_id": "ner"}
    corpus = read(
        answer(LITHIUM, **binary),
        answer({"start": 8, "end": 14, "label": "Disease"}, **binary, answer="reject"),
        answer(TREMOR, **binary),
    )
    (document,) = corpus.documents
    assert document.spans == (Span(0, 7, "Chemical"), Span(15, 21, "Disease"))
    assert document.masked_ranges == ((7, 15), (21, 22))
    assert counts(corpus) == {"not accepted": 1}


def test_people_vote(read) -> None:
    corpus = read(
        answer(LITHIUM, TREMOR, _session_id="ner-ann"),
        answer(LITHIUM, _session_id="ner-bob"),
        answer(LITHIUM, TREMOR, _session_id="ner-eve"),
        answer({**LITHIUM, "label": "Drug"}, _session_id="ner-bob", _timestamp=9),
    )
    (document,) = corpus.documents
    assert document.spans == (Span(0, 7, "Chemical"), Span(15, 21, "Disease"))
    assert [(one.reason, one.label) for one in corpus.dropped] == [("outvoted", "Drug")]


def test_span_without_a_label_is_unknown(read) -> None:
    corpus = read(answer({"start": 0, "end": 7}, TREMOR))
    assert corpus.documents[0].masked_ranges == ((0, 7),)
    assert counts(corpus) == {"region without a label": 1}


@pytest.mark.parametrize(
    "stated", [{"text": "caused"}, {"token_start": 1, "token_end": 1}], ids=["span", "tokens"]
)
def test_stated_text_is_compared(read, stated: dict[str, Any]) -> None:
    corpus = read(answer({**LITHIUM, **stated}, TREMOR, tokens=TOKENS))
    found = [*counts(corpus), *(one.reason for one in corpus.dropped)]
    assert found == ["text differs"]


def test_texts_with_choices_are_counted(read) -> None:
    choice = {"text": TEXT, "answer": "accept", "_task_hash": 1, "_view_id": "choice"}
    related = answer(relations=[{"head": 0, "child": 1}], accept=["A", "B"], _view_id="blocks")
    found = counts(read(answer(LITHIUM), choice, related))
    assert (found["task without annotation"], found["relation"]) == (1, 1)
    assert found["other annotation"] == 2


def test_tokens_may_stand_far_apart(read) -> None:
    far = [TOKENS[0], {**TOKENS[2], "start": 10**15, "end": 10**15 + 6}]
    span = {"start": 0, "end": 21, "label": "Event", "token_start": 0, "token_end": 1}
    corpus = read(answer(span, LITHIUM, tokens=far))
    assert [one.reason for one in corpus.dropped] == ["text differs"]


@pytest.mark.parametrize(
    ("second", "code"),
    [
        ({"html": "<b>Lithium</b>", "spans": []}, "record-without-text"),
        (answer({**LITHIUM, "start": "0"}), "record-span-invalid"),
        (answer({**LITHIUM, "label": 4}), "record-span-invalid"),
        ({"text": TEXT, "spans": 7}, "record-without-list"),
        ({"text": TEXT, "spans": [[0, 7, "Chemical"]]}, "prodigy-span-invalid"),
    ],
)
def test_record_of_another_shape_is_set_aside(read, second: Any, code: str) -> None:
    corpus = read(answer(LITHIUM), second, answer(TREMOR, _input_hash=9))
    assert [one.id for one in corpus.documents] == ["5", "9"]
    (warning,) = corpus.warnings
    assert (warning.kind, warning.count) == ("task set aside", 1)
    assert "all.jsonl, line 2" in warning.examples[0]
    assert_wording(warning.examples[0], code)


def test_file_of_wrong_records_is_refused(read) -> None:
    with raises(FormatError, "record-span-invalid"):
        read(answer({**LITHIUM, "start": "0"}))


@given(st.lists(odd_documents(), min_size=1, max_size=4, unique_by=lambda one: one.id))
def test_documents_round_trip(
    tmp_path_factory: pytest.TempPathFactory, documents: list[Document]
) -> None:
    path = tmp_path_factory.mktemp("prodigy") / "all.jsonl"
    assert write_documents(documents, path, "prodigy").dropped == ()
    corpus = read_corpus([path])
    assert corpus.documents == tuple(documents)
    assert corpus.dropped == ()
