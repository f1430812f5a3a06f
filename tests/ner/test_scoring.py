"""Properties of scoring: invariances, sums, and agreement with seqeval."""

from collections.abc import Iterable, Sequence
from itertools import starmap

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from seqeval.metrics.v1 import precision_recall_fscore_support
from seqeval.scheme import IOB2

from tagalong.ner.document import Span
from tagalong.ner.length_buckets import LENGTH_BUCKETS, length_bucket
from tagalong.ner.scoring import SPAN_KEY, Counts, Scores, match_relaxed, score_spans
from tagalong.ner.tags import TagSet
from tests.spans import count_cells, decode, overlap

# BC5CDR, test, document 8701013 (public domain).
TEXT = (
    "Famotidine-associated delirium. A series of six cases. Famotidine is a histamine H2-receptor "
    "antagonist used in inpatient settings for prevention of stress ulcers."
)
LABELS = ("Chemical", "Disease")


@st.composite
def span_lists(draw: st.DrawFn, text: str = TEXT, most: int = 7) -> list[Span]:
    """Any spans of a text: nested, crossing, repeated, or only white space."""
    starts = st.integers(0, len(text) - 1)
    span = st.tuples(starts, st.integers(1, 40), st.sampled_from(LABELS))
    return [
        Span(start, min(start + length, len(text)), label)
        for start, length, label in draw(st.lists(span, max_size=most))
    ]


documents = st.lists(st.tuples(span_lists(), span_lists()), max_size=5)


def total(pairs: Iterable[tuple[Sequence[Span], Sequence[Span]]]) -> Scores:
    return sum((score_spans(TEXT, gold, predicted) for gold, predicted in pairs), Scores())


def largest_matching(gold: Sequence[Span], predicted: Sequence[Span]) -> int:
    """Size of the largest matching, found by brute force."""
    if not gold:
        return 0
    first, rest = gold[0], gold[1:]
    taken = [
        1 + largest_matching(rest, [*predicted[:index], *predicted[index + 1 :]])
        for index, other in enumerate(predicted)
        if first.label == other.label and overlap(first, other)
    ]
    return max([largest_matching(rest, predicted), *taken])


@given(st.tuples(*[st.integers(0, 50)] * 4), st.tuples(*[st.integers(0, 50)] * 4))
def test_counts_add_up(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    both = Counts(*one) + Counts(*other)
    assert both.gold == Counts(*one).gold + Counts(*other).gold
    assert both.predicted == Counts(*one).predicted + Counts(*other).predicted
    assert sum([Counts(*one), Counts(*other)], Counts()) == both
    assert 0 <= min(both.precision, both.recall) <= both.f1 <= max(both.precision, both.recall) <= 1


def test_scores_without_spans_are_zero() -> None:
    empty = Counts()
    assert (empty.precision, empty.recall, empty.f1) == (0.0, 0.0, 0.0)
    assert (empty.gold, empty.predicted) == (0, 0)


@given(span_lists(), span_lists())
def test_strict_matching_is_set_intersection(gold: list[Span], predicted: list[Span]) -> None:
    both = set(gold) & set(predicted)
    counts = score_spans(TEXT, gold, predicted).strict.total
    assert counts == Counts(len(both), len(both), len(set(predicted) - both), len(set(gold) - both))


@given(span_lists(), span_lists())
@example(  # greedy matching of exact pairs first finds one match of two
    [Span(0, 20, "Chemical"), Span(15, 18, "Chemical")],
    [Span(0, 20, "Chemical"), Span(2, 5, "Chemical")],
)
@example(  # one cluster in which some spans only touch
    [Span(0, 30, "Chemical"), Span(10, 12, "Chemical"), Span(10, 11, "Chemical")],
    [Span(4, 12, "Chemical"), Span(5, 10, "Chemical"), Span(8, 9, "Chemical")],
)
@example(  # greedy matching in text order finds one match of two
    [Span(0, 20, "Chemical"), Span(15, 18, "Chemical")],
    [Span(15, 19, "Chemical"), Span(2, 5, "Chemical")],
)
def test_relaxed_matching_is_maximal(gold: list[Span], predicted: list[Span]) -> None:
    most = largest_matching(sorted(set(gold)), sorted(set(predicted)))
    counts = score_spans(TEXT, gold, predicted).relaxed.total
    assert counts.tp == counts.tp_predicted == most
    assert counts.fn == len(set(gold)) - most
    assert counts.fp == len(set(predicted)) - most


@given(span_lists(most=12), span_lists(most=12))
def test_strict_matches_are_relaxed_matches(gold: list[Span], predicted: list[Span]) -> None:
    exact = {SPAN_KEY(span) for span in gold} & {SPAN_KEY(span) for span in predicted}
    matched = match_relaxed(set(map(SPAN_KEY, gold)), set(map(SPAN_KEY, predicted)))
    assert exact <= matched[0]
    assert exact <= matched[1]


@given(documents, st.randoms(use_true_random=False))
def test_scores_ignore_order_and_duplicates(pairs, chance) -> None:
    shuffled = [(chance.sample(gold, len(gold)) + gold, predicted * 2) for gold, predicted in pairs]
    chance.shuffle(shuffled)
    assert total(shuffled) == total(pairs)


@given(documents)
def test_repeated_corpus_doubles_counts_and_keeps_ratios(pairs) -> None:
    once, twice = total(pairs), total([*pairs, *pairs])
    assert twice == once + once
    assert twice.relaxed.total.f1 == pytest.approx(once.relaxed.total.f1)


@given(documents)
def test_joined_documents_have_the_same_scores(pairs) -> None:
    def shift(spans: Sequence[Span], by: int) -> list[Span]:
        return [Span(span.start + by, span.end + by, span.label) for span in spans]

    step = len(TEXT) + 1
    gold = [span for i, pair in enumerate(pairs) for span in shift(pair[0], i * step)]
    predicted = [span for i, pair in enumerate(pairs) for span in shift(pair[1], i * step)]
    assert score_spans("\n".join([TEXT] * len(pairs)), gold, predicted) == total(pairs)


@given(span_lists(most=10), span_lists(most=10))
def test_swapping_gold_and_predicted_swaps_errors(gold: list[Span], predicted: list[Span]) -> None:
    def swap(counts: Counts) -> Counts:
        return Counts(counts.tp_predicted, counts.tp, counts.fn, counts.fp)

    there, back = score_spans(TEXT, gold, predicted), score_spans(TEXT, predicted, gold)
    for one, other in ((there.strict, back.strict), (there.relaxed, back.relaxed)):
        assert {cell: swap(counts) for cell, counts in one.cells.items()} == other.cells


@given(documents)
def test_strata_add_up_to_total(pairs) -> None:
    scores = total(pairs)
    for tally in (scores.strict, scores.relaxed):
        assert sum((count_cells(tally, one) for one in LENGTH_BUCKETS), Counts()) == tally.total
        assert sum((count_cells(tally, one) for one in LABELS), Counts()) == tally.total


@given(span_lists())
def test_spans_are_stratified_by_their_own_length(predicted: list[Span]) -> None:
    gold = [Span(0, 30, "Chemical"), Span(32, 40, "Disease")]  # 4 words and 2 words
    for tally in (
        score_spans(TEXT, gold, predicted).strict,
        score_spans(TEXT, gold, predicted).relaxed,
    ):
        assert [count_cells(tally, length).gold for length in LENGTH_BUCKETS] == [0, 1, 1]
        for length in LENGTH_BUCKETS:
            of_length = [s for s in set(predicted) if length_bucket(TEXT, s.start, s.end) == length]
            assert count_cells(tally, length).predicted == len(of_length)


def test_length_mismatch_counts_in_both_strata() -> None:
    scores = score_spans(TEXT, [Span(71, 92, "Chemical")], [Span(71, 80, "Chemical")])
    assert count_cells(scores.strict, "1") == Counts(fp=1)
    assert count_cells(scores.strict, "3+") == Counts(fn=1)
    assert count_cells(scores.relaxed, "1") == Counts(tp_predicted=1)
    assert count_cells(scores.relaxed, "3+") == Counts(tp=1)
    assert scores.relaxed.total == Counts(1, 1)


def test_adjacent_spans_do_not_overlap() -> None:
    scores = score_spans("aspirin-induced", [Span(0, 7, "Chemical")], [Span(7, 15, "Chemical")])
    assert scores.relaxed.total == Counts(fp=1, fn=1)


def test_different_label_is_no_match() -> None:
    scores = score_spans(TEXT, [Span(0, 10, "Chemical")], [Span(0, 10, "Disease")])
    assert scores.relaxed.total == Counts(fp=1, fn=1)


@given(documents)
def test_gold_against_itself_is_perfect(pairs) -> None:
    scores = total([(gold, gold) for gold, _ in pairs])
    spans = sum(len(set(gold)) for gold, _ in pairs)
    assert scores.strict.total == scores.relaxed.total == Counts(spans, spans)
    assert scores.strict.total.f1 == (1.0 if spans else 0.0)


def test_thousands_of_crossing_spans_are_matched() -> None:
    # One long chain: each prediction starts half a word late. The time must not be quadratic.
    text = "word " * 20_000
    gold = [Span(5 * i, 5 * i + 5, "x") for i in range(20_000)]
    predicted = [Span(5 * i + 2, 5 * i + 7, "x") for i in range(19_999)]
    assert score_spans(text, gold, predicted).relaxed.total == Counts(19_999, 19_999, 0, 1)


tag_pairs = st.integers(1, 3).flatmap(
    lambda labels: st.tuples(
        st.just(TagSet(tuple("xyz"[:labels]))),
        st.lists(
            st.lists(
                st.tuples(st.integers(0, 2 * labels), st.integers(0, 2 * labels)), max_size=12
            ),
            min_size=1,
            max_size=4,
        ),
    )
)


@given(tag_pairs)
@example((TagSet(("x", "y")), [[(1, 2), (2, 2), (4, 2)], [(3, 1), (2, 2), (2, 4), (0, 4)]]))
@example((TagSet(("x",)), [[]]))
@example((TagSet(("x",)), [[(0, 0)]]))
@example((TagSet(("x",)), [[(2, 0)], [(1, 1)]]))  # an I- tag may not go on across documents
def test_strict_scores_equal_seqeval(case) -> None:
    tag_set, pairs = case
    names = tag_set.tag_names
    tags = [[[names[pair[side]] for pair in tagged] for tagged in pairs] for side in (0, 1)]
    scores = Scores()
    for tagged in pairs:
        words = [(2 * i, 2 * i + 1) for i in range(len(tagged))]
        gold, predicted = (
            decode(tag_set, [pair[side] for pair in tagged], words) for side in (0, 1)
        )
        scores += score_spans("w " * len(tagged), gold, predicted)
    assert_equal_to_seqeval(scores, tags)


def assert_equal_to_seqeval(scores: Scores, tags: list[list[list[str]]]) -> None:
    """Overall and by label: precision, recall, F1 and support."""
    labels = sorted({label for label, _ in scores.strict.cells})
    if not labels:
        return  # seqeval has no scores for an empty corpus
    options = {"scheme": IOB2, "zero_division": 0}
    *ratios, support = precision_recall_fscore_support(*tags, average="micro", **options)
    ours = scores.strict.total
    assert (ours.precision, ours.recall, ours.f1) == pytest.approx(ratios, abs=1e-9)
    assert ours.gold == support
    theirs = precision_recall_fscore_support(*tags, average=None, **options)
    for label, *ratios, support in zip(labels, *theirs, strict=True):
        ours = count_cells(scores.strict, label)
        assert (ours.precision, ours.recall, ours.f1) == pytest.approx(ratios, abs=1e-9)
        assert ours.gold == support


def test_overlapping_predictions_count_twice() -> None:
    gold = [Span(0, 10, "Chemical")]
    predicted = list(starmap(Span, [(0, 10, "Chemical"), (0, 21, "Chemical")]))
    assert score_spans(TEXT, gold, predicted).strict.total == Counts(1, 1, 1, 0)
    assert score_spans(TEXT, gold, predicted).relaxed.total == Counts(1, 1, 1, 0)
