"""Gold and predictions are put side by side, or refused with the reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner.document import Document, Lost, Prediction, Span
from ner.errors import InputError
from training.alignment import align, keep_labels


def gold(*ids: str) -> list[Document]:
    return [Document(one, f"text {one}") for one in ids]


def predictions(*ids: str) -> list[tuple[Document, Prediction]]:
    return [(document, Prediction((), 1.0, document.id)) for document in gold(*ids)]


@given(st.permutations("abcdef"), st.permutations("abcdef"))
def test_predictions_come_in_the_order_of_gold(ids, others):
    documents, predicted = align(gold(*ids), predictions(*others))
    assert documents == gold(*ids)
    assert [one.version for one in predicted] == list(ids)


def test_only_what_both_have_is_judged_where_asked_for():
    documents, predicted = align(gold("a", "b"), predictions("c", "b"), only_common=True)
    assert documents == gold("b")
    assert [one.version for one in predicted] == ["b"]


@pytest.mark.parametrize(
    ("documents", "predicted", "message"),
    [
        ("", "a", "gold has not one document"),
        ("a", "", "system.jsonl has not one document"),
        ("aba", "ab", r"gold has 1 ids more than once: 'a'"),
        ("ab", "abb", r"system.jsonl has 1 ids more than once: 'b'"),
        ("abc", "b", r"system.jsonl lacks 2 of the documents .*: 'a', 'c'; .*--only-common"),
        ("b", "abc", r"gold lacks 2 of the documents .*: 'a', 'c'"),
        ("ab", "cd", r"share no document: gold has 'a', 'b', system.jsonl has 'c', 'd'"),
        ("abcdefgh", "a", r"'b', 'c', 'd', 'e', 'f' and 2 more"),
    ],
)
def test_what_does_not_fit_is_refused(documents, predicted, message):
    with pytest.raises(InputError, match=message):
        align(gold(*documents), predictions(*predicted), name="system.jsonl")


def test_nothing_in_common_is_refused_even_where_only_that_is_asked_for():
    with pytest.raises(InputError, match="share no document"):
        align(gold("a"), predictions("b"), only_common=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("aspirin  again", r"from position 8 it reads ' again' instead of 'again'"),
        ("aspirin", r"from position 7 it reads '' instead of ' again'"),
    ],
)
def test_a_text_that_differs_is_refused_and_the_place_is_named(text, message):
    other = [(Document("1", text), Prediction((), 1.0, "v"))]
    with pytest.raises(InputError, match=message):
        align([Document("1", "aspirin again")], other, only_common=True)


def test_other_labels_are_left_out_on_both_sides_and_handed_back():
    document = Document("1", "aspirin ulcer", (Span(0, 7, "Chemical"), Span(8, 13, "Disease")))
    prediction = Prediction((Span(0, 7, "Drug"), Span(8, 13, "Disease", 0.5)), 1.0, "v")
    documents, predictions, lost = keep_labels([document], [prediction], ["Disease"])
    assert documents[0].spans == predictions[0].spans == (Span(8, 13, "Disease"),)
    assert lost == [Lost("Chemical", "aspirin", "label unknown", 0, 7, "1")]
    assert predictions[0].lost == (Lost("Drug", "aspirin", "label unknown", 0, 7, "1"),)
