"""Strategies for several annotators: votes, ground truth and the latest annotation."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.annotations.annotated_task import Annotation
from tagalong.backend.annotations.annotators import (
    SelectableAnnotatorPolicy,
    adjudicate_task,
    majority_vote,
)
from tagalong.backend.annotations.import_log import CorpusWarning, ImportLog
from tagalong.backend.documents.offsets import RawSpan
from tagalong.ner.document import Document, Span

# BC5CDR, train, document 227508 (public domain).
DOCUMENT = Document("12", "Naloxone reverses the antihypertensive effect of clonidine.")
NALOXONE = Span(0, 8, "Chemical")
CLONIDINE = Span(49, 58, "Chemical")
EFFECT = Span(22, 45, "Disease")

spans = st.sampled_from([NALOXONE, CLONIDINE, EFFECT, replace(EFFECT, end=44)])
votes = st.lists(st.lists(spans, unique=True), min_size=1, max_size=5)


def annotation_by(
    who: str, *drawn: Span, when: float = 0, ground_truth: bool = False
) -> Annotation:
    regions = tuple(RawSpan(span.start, span.end, (span.label,)) for span in drawn)
    return Annotation(who, when, regions, ground_truth)


def adjudicate(
    *annotations: Annotation, strategy: SelectableAnnotatorPolicy = "majority"
) -> tuple[list[Document], ImportLog]:
    import_log = ImportLog()
    made = adjudicate_task(
        DOCUMENT, annotations, policy=strategy, config=None, import_log=import_log
    )
    return made, import_log


@given(votes, st.randoms())
def test_order_of_annotators_does_not_matter(votes: list[list[Span]], chance) -> None:
    shuffled = chance.sample(votes, len(votes))
    assert majority_vote(votes) == majority_vote(shuffled)


@given(votes)
def test_each_span_is_kept_or_outvoted(votes: list[list[Span]]) -> None:
    kept, outvoted = majority_vote(votes)
    assert sorted(kept + outvoted) == sorted({span for vote in votes for span in vote})
    for span in kept:
        assert sum(span in vote for vote in votes) > len(votes) / 2
    for span in outvoted:
        assert sum(span in vote for vote in votes) <= len(votes) / 2


@given(votes)
def test_unanimous_and_repeated_votes_change_nothing(votes: list[list[Span]]) -> None:
    assert majority_vote([votes[0]] * 3) == (sorted(votes[0]), [])
    assert majority_vote(votes * 2) == majority_vote(votes)
    assert majority_vote([vote * 2 for vote in votes]) == majority_vote(votes)


def test_both_of_two_annotators_must_agree() -> None:
    (document,), import_log = adjudicate(
        annotation_by("1", NALOXONE, EFFECT), annotation_by("2", NALOXONE)
    )
    assert document.spans == (NALOXONE,)
    assert [(lost.label, lost.text, lost.reason) for lost in import_log.dropped] == [
        ("Disease", "antihypertensive effect", "outvoted")
    ]


def test_different_label_is_a_different_span() -> None:
    other = replace(NALOXONE, label="Drug")
    (document,), import_log = adjudicate(
        annotation_by("1", NALOXONE), annotation_by("2", other), annotation_by("3", NALOXONE)
    )
    assert document.spans == (NALOXONE,)
    assert [lost.label for lost in import_log.dropped] == ["Drug"]


def test_empty_annotation_votes_against_all_spans() -> None:
    (document,), import_log = adjudicate(
        annotation_by("1", NALOXONE), annotation_by("2"), annotation_by("3")
    )
    assert document.spans == ()
    assert len(import_log.dropped) == 1


def test_ground_truth_overrides_other_annotations() -> None:
    truth = annotation_by("1", CLONIDINE, when=1, ground_truth=True)
    for strategy in ("majority", "latest"):
        (document,), import_log = adjudicate(
            truth,
            annotation_by("2", NALOXONE, when=2),
            annotation_by("3", NALOXONE, when=3),
            strategy=strategy,
        )
        assert document.spans == (CLONIDINE,)
        assert import_log.warnings() == (CorpusWarning("set aside", 2, ("12",)),)


def test_each_annotator_has_one_vote() -> None:
    twice = (annotation_by("1", EFFECT, when=1), annotation_by("1", NALOXONE, when=2))
    (document,), _ = adjudicate(*twice, annotation_by("2", NALOXONE))
    assert document.spans == (NALOXONE,)


def test_annotations_without_annotator_are_separate_votes() -> None:
    (document,), import_log = adjudicate(
        annotation_by("", NALOXONE, EFFECT),
        annotation_by("", NALOXONE),
        annotation_by("", NALOXONE),
    )
    assert document.spans == (NALOXONE,)
    assert import_log.warnings() == ()


def test_latest_annotation_is_last_in_time_or_list() -> None:
    late, early = annotation_by("1", NALOXONE, when=2), annotation_by("2", EFFECT, when=1)
    (document,), _ = adjudicate(late, early, strategy="latest")
    assert document.spans == (NALOXONE,)
    (document,), _ = adjudicate(
        annotation_by("1", NALOXONE), annotation_by("2", EFFECT), strategy="latest"
    )
    assert document.spans == (EFFECT,)


def test_all_makes_one_document_per_annotation() -> None:
    made, import_log = adjudicate(
        annotation_by("1", NALOXONE, when=1),
        annotation_by("", EFFECT, when=2),
        annotation_by("a@example.com", when=3),
        strategy="all",
    )
    assert [(document.id, document.spans) for document in made] == [
        ("12@1", (NALOXONE,)),
        ("12@n2", (EFFECT,)),
        ("12@a@example.com", ()),
    ]
    assert {document.text for document in made} == {DOCUMENT.text}
    assert import_log.dropped == []


@pytest.mark.parametrize("strategy", ["majority", "latest", "all"])
def test_single_annotation_is_unchanged(strategy: SelectableAnnotatorPolicy) -> None:
    (document,), import_log = adjudicate(annotation_by("1", NALOXONE, EFFECT), strategy=strategy)
    assert document.spans == (NALOXONE, EFFECT)
    assert (import_log.dropped, import_log.warnings()) == ([], ())
