"""The paper protocol and its artefacts, compared with a literal implementation."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.ner.document import Document, Prediction, Span
from tagalong.ner.errors import InputError
from tagalong.ner.length_buckets import LENGTH_BUCKETS
from tagalong.training.evaluation.paper_protocol import (
    MatchCounts,
    SchemeMatchCounts,
    collect_entities,
    compare_tags,
    evaluate_as_paper,
    paper_report_to_json,
    split_at_gold_entities,
)
from tests.errors import raises

TEXT = "a b c d e f g h i j"  # ten words of one letter


def span(first: int, words: int, label: str = "x") -> Span:
    return Span(2 * first, 2 * (first + words) - 1, label)


def judge(gold: list[Span], predicted: list[Span], **options):
    prediction = Prediction(tuple(predicted), 1.0, "v")
    return evaluate_as_paper([Document("1", TEXT, tuple(gold))], [prediction], **options)


def both(**counts: int) -> SchemeMatchCounts:
    return SchemeMatchCounts(MatchCounts(**counts), MatchCounts(**counts))


def test_single_word_inside_three_word_gold_is_missed_and_spurious():
    assert judge([span(2, 3)], [span(3, 1)]).overall == both(missed=1, spurious=1)


def test_prediction_past_the_end_of_gold_is_a_match_and_spurious():
    report = judge([span(1, 3)], [span(1, 4), span(7, 2)])
    assert report.overall.strict.f1 == 0.0
    long = report.by_length["3+"].strict
    assert (long.precision, long.recall) == (1.0, 1.0)
    assert report.by_length["1"] == both(spurious=3)
    assert report.by_length["2"] == both()


def test_spans_that_share_only_the_last_word_do_not_match():
    assert judge([span(0, 3)], [span(2, 3)]).overall == both(missed=1, spurious=1)


def test_half_credit_for_any_label_and_full_credit_for_exact_words():
    crossing = judge([span(0, 3)], [span(1, 3, "y")], labels=("x", "y")).overall
    assert crossing == SchemeMatchCounts(MatchCounts(incorrect=1), MatchCounts(partial=1))
    assert crossing.partial.f1 == 0.5
    same_words = judge([span(0, 1)], [span(0, 1, "y")], labels=("x", "y")).overall
    assert same_words == SchemeMatchCounts(MatchCounts(incorrect=1), MatchCounts(correct=1))


def test_other_labels_are_dropped_on_both_sides_and_counted():
    report = judge([span(0, 1), span(3, 1, "y")], [span(0, 1), span(5, 1, "z")], labels=("x",))
    assert report.overall == both(correct=1)
    assert (report.dropped_gold, report.dropped_predicted) == (1, 1)


@pytest.mark.parametrize(
    ("tags", "entities"),
    [
        (["I-x", "I-x", "O"], [(0, 1, "x")]),
        (["B-x", "I-y", "I-y"], [(0, 0, "x"), (1, 2, "y")]),
        (["B-x", "B-x", "I-x"], [(0, 0, "x"), (1, 2, "x")]),
        (["B-x", "O", "I-x"], [(0, 0, "x"), (2, 2, "x")]),
        ([], []),
    ],
)
def test_illegal_tags_are_read_as_entities(tags, entities):
    assert collect_entities(tags) == entities


tags = st.sampled_from(["O", "B-x", "I-x", "B-y", "I-y"])
pairs = st.lists(st.tuples(tags, tags), max_size=12).map(
    lambda both: ([one for one, _ in both], [other for _, other in both])
)


def score_literally(gold: list[str], predicted: list[str]) -> Counter[tuple[str, str]]:
    """The procedure as described in the paper, with ranges and sets."""
    found = Counter[tuple[str, str]]()
    true, overlapped = collect_entities(gold), []
    for first, last, label in collect_entities(predicted):
        verdict = ("spurious", "spurious")
        if (first, last, label) in true:
            verdict = ("correct", "correct")
            overlapped.append((first, last, label))
        else:
            for entity in true:
                shared = set(range(entity[0], entity[1])) & set(range(first, last))
                if shared or entity[:2] == (first, last):
                    exact = entity[:2] == (first, last)
                    verdict = ("incorrect", "correct" if exact else "partial")
                    overlapped.append(entity)
                    break
        found[verdict] += 1
    found["missed", "missed"] = sum(entity not in overlapped for entity in true)
    return found


@given(pairs)
def test_protocol_equals_a_literal_implementation(pair):
    assert compare_tags(*pair) == score_literally(*pair)


@given(pairs)
def test_segments_cover_each_word_once_and_keep_entities_whole(pair):
    gold, _ = pair
    pieces = list(split_at_gold_entities(gold))
    assert [word for _, first, end in pieces for word in range(first, end)] == [*range(len(gold))]
    whole = {(first, end - 1) for _, first, end in pieces}
    assert {entity[:2] for entity in collect_entities(gold)} <= whole
    assert all(LENGTH_BUCKETS[min(end - first, 3) - 1] == length for length, first, end in pieces)


def test_json_has_counts_and_ratios():
    written = paper_report_to_json(judge([span(1, 3)], [span(1, 3)], source="gold.jsonl"))
    assert written["protocol"] == "paper"
    assert written["gold"] == "gold.jsonl"
    assert written["strict"]["f1"] == written["by_length"]["3+"]["partial"]["f1"] == 1.0


@pytest.mark.parametrize("gold", [[], [Document("1", TEXT)]])
def test_gold_without_entities_is_refused(gold):
    with raises(InputError, "gold-without-entities"):
        evaluate_as_paper(gold, [Prediction((), 1.0, "v")] * len(gold))
