"""Alignment of gold and predictions, and refusals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.ner.document import Document, DroppedAnnotation, Prediction, Span
from tagalong.ner.errors import InputError, LabelError
from tagalong.training.evaluation.alignment import (
    AlignedDocuments,
    SystemOutput,
    align_predictions,
    filter_labels,
)
from tests.errors import raises


def gold(*ids: str) -> list[Document]:
    return [Document(one, f"text {one}") for one in ids]


def answers(*ids: str, name: str = "system.jsonl") -> SystemOutput:
    """Predictions with a version each."""
    pairs = [(document, Prediction((), 1.0, document.id)) for document in gold(*ids)]
    return SystemOutput(name, pairs)


@given(st.permutations("abcdef"), st.permutations("abcdef"), st.permutations("abcdef"))
def test_predictions_are_in_gold_order(ids, some, others):
    case = align_predictions(
        gold(*ids), [answers(*some), answers(*others)], only_common_documents=False
    )
    assert list(case.gold) == gold(*ids)
    for predictions in case.predicted:
        assert [one.version for one in predictions] == ids


def test_common_only_evaluates_the_intersection():
    systems = [answers("c", "b", "a"), answers("d", "b", "c")]
    case = align_predictions(gold("a", "b", "c"), systems, only_common_documents=True)
    assert list(case.gold) == gold("b", "c")
    assert [[one.version for one in side] for side in case.predicted] == [["b", "c"]] * 2
    assert case.excluded_documents == 2  # "a" and "d"


@pytest.mark.parametrize(
    ("documents", "predicted", "code", "named"),
    [
        ("", "a", "no-documents", ("gold",)),
        ("a", "", "no-documents", ("system.jsonl",)),
        ("aba", "ab", "repeated-document-id", ("gold", "'a'")),
        ("ab", "abb", "repeated-document-id", ("system.jsonl", "'b'")),
        ("abc", "b", "documents-differ", ("system.jsonl", "'a', 'c'", "--only-common")),
        ("b", "abc", "documents-differ", ("gold", "'a', 'c'")),
        ("abcdefgh", "a", "documents-differ", ("'b', 'c', 'd', 'e', 'f'",)),
    ],
)
def test_unmatched_documents_are_refused(documents, predicted, code, named):
    with raises(InputError, code) as raised:
        align_predictions(gold(*documents), [answers(*predicted)], only_common_documents=False)
    assert [name for name in named if name not in str(raised.value)] == []


def test_second_system_is_checked_too():
    systems = [answers("a"), answers(name="other.jsonl")]
    with raises(InputError, "no-documents"):
        align_predictions(gold("a"), systems, only_common_documents=True)


def test_common_only_without_common_documents_is_refused():
    with raises(InputError, "documents-differ"):
        align_predictions(gold("a"), [answers("b")], only_common_documents=True)


@pytest.mark.parametrize(
    ("text", "position", "found"),
    [("aspirin  again", " 8 ", "' again'"), ("aspirin", " 7 ", "''")],
)
def test_different_text_is_refused_with_position(text, position, found):
    other = SystemOutput("system.jsonl", [(Document("1", text), Prediction((), 1.0, "v"))])
    with raises(InputError, "documents-differ") as raised:
        align_predictions([Document("1", "aspirin again")], [other], only_common_documents=True)
    assert position in str(raised.value)
    assert found in str(raised.value)


DOCUMENT = Document("1", "aspirin ulcer", (Span(0, 7, "Chemical"), Span(8, 13, "Disease")))
PREDICTION = Prediction((Span(0, 7, "Drug"), Span(8, 13, "Disease", 0.5)), 1.0, "v")


def test_other_labels_are_dropped_on_both_sides_and_returned():
    case = filter_labels(AlignedDocuments((DOCUMENT,), ((PREDICTION,), (PREDICTION,))), ["Disease"])
    for (prediction,) in case.predicted:
        assert prediction.spans == case.gold[0].spans == (Span(8, 13, "Disease"),)
        assert prediction.dropped == (
            DroppedAnnotation("Drug", "aspirin", "label unknown", 0, 7, "1"),
        )
    assert case.dropped == (DroppedAnnotation("Chemical", "aspirin", "label unknown", 0, 7, "1"),)


def test_unknown_label_is_refused():
    with raises(LabelError, "label-without-spans"):
        filter_labels(AlignedDocuments((DOCUMENT,), ((PREDICTION,),)), ["Disaese", "Drug"])
