"""Several annotators: who is heard, what they agree on, and that nobody has two voices."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.annotations.annotators import (
    Annotation,
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


def by(who: str, *drawn: Span, when: float = 0, ground_truth: bool = False) -> Annotation:
    regions = tuple(RawSpan(span.start, span.end, (span.label,)) for span in drawn)
    return Annotation(who, when, regions, ground_truth)


def settled(
    *annotations: Annotation, strategy: SelectableAnnotatorPolicy = "majority"
) -> tuple[list[Document], ImportLog]:
    ledger = ImportLog()
    made = adjudicate_task(DOCUMENT, annotations, policy=strategy, config=None, import_log=ledger)
    return made, ledger


@given(votes, st.randoms())
def test_the_order_of_annotators_does_not_matter(votes: list[list[Span]], chance) -> None:
    shuffled = chance.sample(votes, len(votes))
    assert majority_vote(votes) == majority_vote(shuffled)


@given(votes)
def test_every_span_is_kept_or_outvoted(votes: list[list[Span]]) -> None:
    kept, outvoted = majority_vote(votes)
    assert sorted(kept + outvoted) == sorted({span for vote in votes for span in vote})
    for span in kept:
        assert sum(span in vote for vote in votes) > len(votes) / 2
    for span in outvoted:
        assert sum(span in vote for vote in votes) <= len(votes) / 2


@given(votes)
def test_unanimity_and_repetition_change_nothing(votes: list[list[Span]]) -> None:
    assert majority_vote([votes[0]] * 3) == (sorted(votes[0]), [])
    assert majority_vote(votes * 2) == majority_vote(votes)
    assert majority_vote([vote * 2 for vote in votes]) == majority_vote(votes)


def test_of_two_annotators_both_must_agree() -> None:
    (document,), ledger = settled(by("1", NALOXONE, EFFECT), by("2", NALOXONE))
    assert document.spans == (NALOXONE,)
    assert [(lost.label, lost.text, lost.reason) for lost in ledger.dropped] == [
        ("Disease", "antihypertensive effect", "outvoted")
    ]


def test_another_label_is_another_span() -> None:
    other = replace(NALOXONE, label="Drug")
    (document,), ledger = settled(by("1", NALOXONE), by("2", other), by("3", NALOXONE))
    assert document.spans == (NALOXONE,)
    assert [lost.label for lost in ledger.dropped] == ["Drug"]


def test_an_empty_annotation_is_a_vote_for_nothing() -> None:
    (document,), ledger = settled(by("1", NALOXONE), by("2"), by("3"))
    assert document.spans == ()
    assert len(ledger.dropped) == 1


def test_ground_truth_is_all_that_counts() -> None:
    truth = by("1", CLONIDINE, when=1, ground_truth=True)
    for strategy in ("majority", "latest"):
        (document,), ledger = settled(
            truth, by("2", NALOXONE, when=2), by("3", NALOXONE, when=3), strategy=strategy
        )
        assert document.spans == (CLONIDINE,)
        assert ledger.warnings() == (CorpusWarning("set aside", 2, ("12",)),)


def test_nobody_has_two_voices() -> None:
    twice = (by("1", EFFECT, when=1), by("1", NALOXONE, when=2))
    (document,), _ = settled(*twice, by("2", NALOXONE))
    assert document.spans == (NALOXONE,)


def test_the_unnamed_are_different_people() -> None:
    (document,), ledger = settled(by("", NALOXONE, EFFECT), by("", NALOXONE), by("", NALOXONE))
    assert document.spans == (NALOXONE,)
    assert ledger.warnings() == ()


def test_the_latest_is_the_last_in_time_else_in_the_list() -> None:
    late, early = by("1", NALOXONE, when=2), by("2", EFFECT, when=1)
    (document,), _ = settled(late, early, strategy="latest")
    assert document.spans == (NALOXONE,)
    (document,), _ = settled(by("1", NALOXONE), by("2", EFFECT), strategy="latest")
    assert document.spans == (EFFECT,)


def test_all_makes_a_document_for_each() -> None:
    made, ledger = settled(
        by("1", NALOXONE, when=1),
        by("", EFFECT, when=2),
        by("a@example.com", when=3),
        strategy="all",
    )
    assert [(document.id, document.spans) for document in made] == [
        ("12@1", (NALOXONE,)),
        ("12@n2", (EFFECT,)),
        ("12@a@example.com", ()),
    ]
    assert {document.text for document in made} == {DOCUMENT.text}
    assert ledger.dropped == []


@pytest.mark.parametrize("strategy", ["majority", "latest", "all"])
def test_one_annotation_is_taken_as_it_is(strategy: SelectableAnnotatorPolicy) -> None:
    (document,), ledger = settled(by("1", NALOXONE, EFFECT), strategy=strategy)
    assert document.spans == (NALOXONE, EFFECT)
    assert (ledger.dropped, ledger.warnings()) == ([], ())
