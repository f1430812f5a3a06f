"""Error types: each wrong span is in one error of the right type."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.ner.document import Document, Prediction, Span
from tagalong.training.evaluation.error_types import (
    ERROR_TYPES,
    ErrorType,
    Quote,
    find_mismatches,
    summarize_errors,
)
from tests.spans import overlap

# BC5CDR, test, document 8701013 (public domain).
TEXT = (
    "Famotidine-associated delirium.\nA series of six cases. Famotidine is a histamine H2-receptor"
)

spans = st.lists(
    st.builds(
        lambda start, length, label: Span(start, start + length, label),
        st.integers(0, 20),
        st.integers(1, 8),
        st.sampled_from(["Chemical", "Disease"]),
    ),
    max_size=8,
)


@given(spans, spans)
def test_each_wrong_span_is_in_one_error(gold: list[Span], predicted: list[Span]):
    mistakes = find_mismatches(gold, predicted)
    true, predicted = set(gold), set(predicted)
    assert Counter(m.gold for m in mistakes if m.gold) == Counter(true - predicted)
    assert Counter(m.predicted for m in mistakes if m.predicted) == Counter(predicted - true)


@given(spans, spans)
def test_error_type_matches_its_spans(gold: list[Span], predicted: list[Span]):
    for mistake in find_mismatches(gold, predicted):
        if mistake.gold is None or mistake.predicted is None:
            assert mistake.error_type == ("spurious" if mistake.gold is None else "missed")
            continue
        assert overlap(mistake.gold, mistake.predicted)
        assert ("boundary" in mistake.error_type) == (
            (mistake.gold.start, mistake.gold.end)
            != (mistake.predicted.start, mistake.predicted.end)
        )
        assert ("type" in mistake.error_type) == (mistake.gold.label != mistake.predicted.label)


@given(spans, spans)
def test_unmatched_spans_do_not_overlap(gold, predicted):
    mistakes = find_mismatches(gold, predicted)
    missed = [m.gold for m in mistakes if m.error_type == "missed" and m.gold]
    spurious = [m.predicted for m in mistakes if m.error_type == "spurious" and m.predicted]
    assert not any(overlap(one, other) for one in missed for other in spurious)


@given(spans, spans, st.randoms(use_true_random=False))
def test_errors_ignore_order_and_duplicates(gold, predicted, chance):
    shuffled = chance.sample(gold, len(gold)) + gold
    assert find_mismatches(shuffled, predicted[::-1]) == find_mismatches(gold, predicted)


@pytest.mark.parametrize(
    ("gold", "predicted", "kind"),
    [
        ((71, 92, "Chemical"), (71, 80, "Chemical"), "boundary short"),
        ((71, 80, "Chemical"), (71, 92, "Chemical"), "boundary long"),
        ((71, 80, "Chemical"), (75, 92, "Chemical"), "boundary shifted"),
        ((71, 80, "Chemical"), (71, 80, "Disease"), "type"),
        ((71, 80, "Chemical"), (71, 92, "Disease"), "type and boundary"),
        ((71, 80, "Chemical"), None, "missed"),
        (None, (71, 80, "Chemical"), "spurious"),
    ],
)
def test_error_types(gold, predicted, kind: ErrorType):
    wrong, predicted = (span and Span(*span) for span in (gold, predicted))
    (mistake,) = find_mismatches([wrong] * bool(wrong), [predicted] * bool(predicted))
    assert (mistake.error_type, mistake.gold, mistake.predicted) == (kind, wrong, predicted)


def test_closer_fragment_is_the_boundary_error():
    gold, near, far = Span(0, 20, "x"), Span(0, 12, "x"), Span(15, 20, "x")
    mistakes = find_mismatches([gold], [far, near])
    assert [(m.error_type, m.predicted) for m in mistakes] == [
        ("boundary short", near),
        ("spurious", far),
    ]


def test_same_label_precedes_larger_overlap():
    gold, other, same = Span(0, 20, "x"), Span(0, 18, "y"), Span(15, 20, "x")
    mistakes = find_mismatches([gold], [other, same])
    assert [(m.error_type, m.predicted) for m in mistakes] == [
        ("spurious", other),
        ("boundary short", same),
    ]


def test_examples_are_the_most_frequent_errors_with_context():
    first = Document("1", TEXT, (Span(0, 10, "Chemical"), Span(22, 30, "Disease")))
    second = Document("2", TEXT, (Span(55, 65, "Chemical"),))
    summary = summarize_errors([first, second], [Prediction((), 1.0, "v")] * 2, examples=1)
    assert list(summary) == list(ERROR_TYPES)
    assert {kind: group.count for kind, group in summary.items() if group.count} == {"missed": 3}
    (example,) = summary["missed"].examples
    assert (example.gold, example.predicted) == (Quote("Chemical", "Famotidine"), None)
    assert (example.times, example.document) == (2, "1")
    assert example.context == "Famotidine-associated delirium. A series of six ca"
