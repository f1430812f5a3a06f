"""Inter-annotator agreement: symmetry, pairs and strata."""

import json
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.annotations.annotators import ANNOTATOR_META_KEY, TASK_META_KEY
from tagalong.backend.formats.file_format import ReadOptions
from tagalong.ner.document import Document, Span
from tagalong.ner.errors import InputError
from tagalong.ner.length_buckets import LENGTH_BUCKETS
from tagalong.training.corpus import read_corpus
from tagalong.training.curate.inter_annotator import AgreementScores, compute_agreement
from tests.errors import raises

# BC5CDR, train, document 227508 (public domain).
TEXT = "Naloxone reverses the antihypertensive effect of clonidine in hypertensive rats."
NALOXONE, CLONIDINE = Span(0, 8, "Chemical"), Span(49, 58, "Chemical")
EFFECT, HALF = Span(22, 45, "Disease"), Span(22, 38, "Disease")


def by(annotator: str, task: str, *spans: Span, text: str = TEXT) -> Document:
    meta = {ANNOTATOR_META_KEY: annotator, TASK_META_KEY: task}
    return Document(f"{task}@{annotator}", text, tuple(spans), meta)


drawn = st.lists(
    st.sampled_from([NALOXONE, CLONIDINE, EFFECT, HALF, Span(0, 8, "Disease")]), unique=True
)
projects = st.dictionaries(
    st.tuples(st.sampled_from(["1", "2", "3"]), st.sampled_from(["anna", "ben", "cleo"])),
    drawn,
    min_size=1,
).filter(lambda project: {("1", "anna"), ("1", "ben")} <= project.keys())


def documents_of(project) -> list[Document]:
    return [by(annotator, task, *spans) for (task, annotator), spans in project.items()]


@given(projects, st.randoms(use_true_random=False))
def test_agreement_ignores_order(project, chance) -> None:
    documents = documents_of(project)
    assert compute_agreement(chance.sample(documents, len(documents))) == compute_agreement(
        documents
    )


@given(projects)
def test_agreement_ignores_annotator_names(project) -> None:
    names = {"anna": "zoe", "ben": "ben", "cleo": "abe"}  # in another order
    renamed = {(task, names[who]): spans for (task, who), spans in project.items()}
    one, other = (compute_agreement(documents_of(each)) for each in (project, renamed))
    assert (one.overall, one.by_label, one.by_length) == (
        other.overall,
        other.by_label,
        other.by_length,
    )


@given(st.lists(drawn, min_size=1, max_size=4))
def test_equal_annotations_agree_fully(tasks) -> None:
    documents = [
        by(who, str(task), *spans)
        for (task, spans), who in product(enumerate(tasks), ("anna", "ben", "cleo"))
    ]
    agreement = compute_agreement(documents)
    for agreed in (agreement.overall, *agreement.by_label.values(), *agreement.by_length.values()):
        assert (agreed.exact_f1, agreed.overlap_f1) == (1.0, 1.0)


@given(projects)
def test_strata_add_up_and_relaxed_is_at_least_strict(project) -> None:
    agreement = compute_agreement(documents_of(project))
    for parts in (
        agreement.by_label.values(),
        agreement.by_length.values(),
        agreement.by_pair.values(),
        [entry.scores for entry in agreement.by_task],
    ):
        assert sum(parts, AgreementScores()) == agreement.overall
        assert all(part.exact_f1 <= part.overlap_f1 for part in parts)
    assert list(agreement.by_length) == list(LENGTH_BUCKETS)


def test_hand_computed_agreement() -> None:
    agreement = compute_agreement(
        [
            by("anna", "1", NALOXONE, EFFECT),
            by("ben", "1", NALOXONE, HALF),
            by("anna", "2", CLONIDINE),
            by("ben", "2", CLONIDINE),
            by("anna", "3", CLONIDINE),
        ]
    )
    assert agreement.single_annotator_tasks == 1
    assert (agreement.overall.compared_spans, agreement.overall.exact_f1) == (
        6,
        pytest.approx(4 / 6),
    )
    assert agreement.overall.overlap_f1 == 1.0
    assert agreement.by_label["Chemical"].exact_f1 == 1.0
    assert agreement.by_label["Disease"].exact_f1 == 0.0
    assert agreement.by_length["2"].compared_spans == 1
    assert list(agreement.by_pair) == [("anna", "ben")]
    assert [entry.task_id for entry in agreement.by_task] == ["1", "2"]


def test_three_annotators_make_three_pairs() -> None:
    agreement = compute_agreement(
        [by("anna", "1", NALOXONE), by("ben", "1", NALOXONE), by("cleo", "1", CLONIDINE)]
    )
    assert {pair: agreed.exact_f1 for pair, agreed in agreement.by_pair.items()} == {
        ("anna", "ben"): 1.0,
        ("anna", "cleo"): 0.0,
        ("ben", "cleo"): 0.0,
    }
    assert agreement.overall.exact_f1 == pytest.approx(1 / 3)


def test_same_id_in_two_projects_is_two_tasks() -> None:
    with raises(InputError, "no-task-with-two-annotators"):
        compute_agreement([by("anna", "1", NALOXONE), by("ben", "1", text="Another text.")])


@pytest.mark.parametrize("documents", [[], [by("anna", "1", NALOXONE), by("anna", "2")]])
def test_single_annotator_has_no_agreement(documents) -> None:
    with raises(InputError, "no-task-with-two-annotators"):
        compute_agreement(documents)


def test_agreement_ignores_ground_truth_marks(tmp_path) -> None:
    def annotation(who, span, *, truth=False):
        value = {"start": span.start, "end": span.end, "labels": [span.label]}
        item = {"type": "labels", "from_name": "label", "to_name": "text", "value": value}
        return {"completed_by": who, "ground_truth": truth, "result": [item]}

    task = {
        "id": 12,
        "data": {"text": TEXT},
        "annotations": [
            annotation(1, NALOXONE, truth=True),
            annotation(2, NALOXONE),
            annotation(2, CLONIDINE),  # submitted later: each annotator has one vote
        ],
    }
    path = tmp_path / "export.json"
    path.write_text(json.dumps([task]), encoding="utf-8")
    corpus = read_corpus([path], ReadOptions(annotator_policy="each"))
    [entry] = compute_agreement(corpus.documents).by_task
    assert (entry.task_id, entry.annotators, entry.scores.compared_spans) == ("12", ("1", "2"), 2)
    assert entry.scores.exact_f1 == 0.0
