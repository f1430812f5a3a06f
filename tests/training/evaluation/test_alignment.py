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


TEXTS = ("aspirin", "fever of unknown origin", "no entity")


def predictions_of(ids: list[str], texts: tuple[str, ...] = TEXTS) -> SystemOutput:
    """Predictions whose versions are the texts."""
    pairs = [
        (Document(name, text), Prediction((), 1.0, text))
        for name, text in zip(ids, texts, strict=True)
    ]
    return SystemOutput("p.jsonl", pairs)


@pytest.mark.parametrize(
    ("gold_ids", "ids", "note"),
    [
        (
            "123",
            [f"p.jsonl, line {number}" for number in (1, 2, 3)],
            "p.jsonl has 3 documents without ids",
        ),
        (
            [f"g.jsonl, line {number}" for number in (1, 2, 3)],
            "123",
            "Gold has 3 documents without ids",
        ),
        ("123", ["1", "p.jsonl, line 2", "3"], "p.jsonl has 1 document without ids, matched"),
        ("123", "abc", "p.jsonl has other ids, such as 'a' for '1'"),
        ("123", "012", "other ids"),  # shared ids, but of another numbering
        ("123", "213", "2 documents matched by text"),
    ],
)
@given(st.permutations(range(3)))
def test_documents_with_other_ids_are_matched_by_text(gold_ids, ids, note, order):
    documents = [Document(name, text) for name, text in zip(gold_ids, TEXTS, strict=True)]
    output = predictions_of([ids[place] for place in order], tuple(TEXTS[place] for place in order))
    case = align_predictions(documents, [output], only_common_documents=False)
    assert list(case.gold) == documents
    assert [one.version for one in case.predicted[0]] == list(TEXTS)
    assert note in " ".join(case.notes)
    assert case.excluded_documents == 0


def test_common_documents_of_another_numbering_are_evaluated():
    documents = [Document(name, text) for name, text in zip("123", TEXTS, strict=True)]
    output = predictions_of(["0", "1", "3"], (*TEXTS[:2], "another text"))
    case = align_predictions(documents, [output], only_common_documents=True)
    assert [document.id for document in case.gold] == ["1", "2"]
    assert case.excluded_documents == 2
    with raises(InputError, "documents-differ"):
        align_predictions(documents, [output], only_common_documents=False)


def test_repeated_text_without_ids_is_refused_where_it_matters():
    span = Span(0, 7, "Chemical")
    documents = [Document("1", "aspirin", (span,)), Document("2", "aspirin")]
    found, silent = Prediction((span,), 1.0, "v"), Prediction((), 1.0, "v")

    def align(*predictions: Prediction) -> AlignedDocuments:
        pairs = [
            (Document(f"p, line {number}", "aspirin"), one)
            for number, one in enumerate(predictions)
        ]
        output = SystemOutput("p", pairs)
        return align_predictions(documents, [output], only_common_documents=False)

    for predictions in ([silent, found], [found], [found, found, found]):
        with raises(InputError, "document-text-ambiguous") as raised:
            align(*predictions)
        assert "'aspirin'" in str(raised.value)
    assert align(found, found).predicted == ((found, found),)  # in any order


@given(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
def test_spans_are_trimmed_alike_on_both_sides(before, after, more_before, more_after):
    text = " \t\n acute fever \n\t "
    start, end = text.index("acute"), text.index("fever") + 5
    wide = Span(start - before, end + after, "Disease", 0.5)
    other = Span(start - more_before, end + more_after, "Disease")
    output = SystemOutput("p", [(Document("1", text), Prediction((wide,), 1.0, "v"))])
    case = align_predictions([Document("1", text, (other,))], [output], only_common_documents=False)
    assert case.gold[0].spans == case.predicted[0][0].spans == (Span(start, end, "Disease"),)
    assert case.predicted[0][0].spans[0].score == 0.5
    assert bool(case.notes) == any((before, after, more_before, more_after))


def test_spans_without_words_are_dropped_and_returned():
    blank = Span(7, 9, "Disease")
    lost = DroppedAnnotation("Disease", "  ", "no words", 7, 9, "1")
    output = SystemOutput("p", [(Document("1", "aspirin  "), Prediction((blank,), 1.0, "v"))])
    documents = [Document("1", "aspirin  ", (blank,))]
    case = align_predictions(documents, [output], only_common_documents=False)
    assert case.gold[0].spans == case.predicted[0][0].spans == ()
    assert case.dropped == case.predicted[0][0].dropped == (lost,)


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
