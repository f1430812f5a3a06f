"""Calibration: the calibration error, and the temperature that reduces it."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tagalong.ner.document import Document, Prediction, Span
from tagalong.ner.tags import IGNORE_INDEX
from tagalong.training.evaluation.calibration import (
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    RELIABILITY_BINS,
    compute_calibration,
    compute_reliability,
    fit_temperature,
)

unit = st.floats(0.0, 1.0)
answers = st.lists(st.tuples(unit, st.booleans()), min_size=1, max_size=60)


def measure(pairs):
    scores, right = zip(*pairs, strict=True)
    return compute_reliability(np.array(scores), np.array(right))


@given(answers)
@example([(0.5, True), (0.0, False), (1.0, True)])  # on the bin edges
def test_bins_partition_scores_and_sum_to_the_error(pairs):
    calibration = measure(pairs)
    assert len(calibration.bins) == RELIABILITY_BINS
    assert sum(part.spans for part in calibration.bins) == calibration.spans == len(pairs)
    for part in calibration.bins:
        inside = [
            pair for pair in pairs if part.low < pair[0] <= part.high or pair[0] == part.low == 0
        ]
        assert part.spans == len(inside)
        if inside:
            assert part.confidence == pytest.approx(np.mean([score for score, _ in inside]))
            assert part.accuracy == pytest.approx(np.mean([right for _, right in inside]))
    gaps = (part.spans * abs(part.confidence - part.accuracy) for part in calibration.bins)
    assert calibration.ece == pytest.approx(sum(gaps) / len(pairs))
    assert 0.0 <= calibration.ece <= 1.0


def test_calibrated_scores_have_no_error():
    assert measure([(0.75, True)] * 3 + [(0.75, False)]).ece == 0.0


def test_confident_and_wrong_has_the_largest_error():
    assert measure([(1.0, False)] * 4).ece == 1.0


def test_correctness_is_strict_match_and_unscored_spans_are_counted():
    text = "aspirin induced ulcers"
    gold = [Document("1", text, (Span(0, 7, "Chemical"), Span(16, 22, "Disease")))]
    spans = (Span(0, 7, "Chemical", 0.9), Span(8, 22, "Disease", 0.6), Span(16, 22, "Disease"))
    calibration = compute_calibration(gold, [Prediction(spans, 1.0, "v")])
    assert calibration is not None
    assert (calibration.spans, calibration.unscored) == (2, 1)
    assert calibration.ece == pytest.approx((0.1 + 0.6) / 2)


def test_no_calibration_without_scores():
    gold = [Document("1", "aspirin", (Span(0, 7, "Chemical"),))]
    assert compute_calibration(gold, [Prediction((Span(0, 7, "Chemical"),), 1.0, "v")]) is None


def loss(logits, gold, temperature):
    """Mean negative log-likelihood of the counted words."""
    known = gold != IGNORE_INDEX
    scaled = logits[known] / temperature
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    likelihood = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
    return -likelihood[np.arange(known.sum()), gold[known]].mean()


@given(
    arrays.arrays(np.float64, (12, 5), elements=st.floats(-8, 8)),
    arrays.arrays(np.int64, 12, elements=st.sampled_from([IGNORE_INDEX, 0, 1, 2, 3, 4])),
)
def test_fitted_temperature_maximizes_likelihood(logits, gold):
    best = fit_temperature(logits, gold)
    assert MIN_TEMPERATURE <= best <= MAX_TEMPERATURE
    if (gold != IGNORE_INDEX).any():
        for other in np.geomspace(MIN_TEMPERATURE, MAX_TEMPERATURE, 60):
            assert loss(logits, gold, best) <= loss(logits, gold, other) + 1e-9


def test_known_temperature_is_recovered():
    chance = np.random.default_rng(0)
    true = chance.normal(scale=2.0, size=(20_000, 5))
    gold = (true + chance.gumbel(size=true.shape)).argmax(axis=1)  # drawn from softmax(true)
    gold[::7] = IGNORE_INDEX
    assert fit_temperature(3.0 * true, gold) == pytest.approx(3.0, rel=0.05)


@given(st.floats(-50, 50))
def test_temperature_ignores_shifted_logits(shift):
    chance = np.random.default_rng(0)
    logits, gold = chance.normal(size=(50, 3)), chance.integers(3, size=50)
    assert fit_temperature(logits + shift, gold) == pytest.approx(fit_temperature(logits, gold))


def test_forbidden_tags_are_ignored():
    chance = np.random.default_rng(0)
    logits, gold = chance.normal(size=(50, 3)), chance.integers(3, size=50)
    barred = np.hstack([logits, np.full((50, 1), -np.inf)])
    assert fit_temperature(barred, gold) == pytest.approx(fit_temperature(logits, gold))


@pytest.mark.parametrize("words", [0, 3])
def test_temperature_is_1_without_counted_words(words):
    assert fit_temperature(np.ones((words, 3)), np.full(words, IGNORE_INDEX)) == 1.0


def test_always_correct_gives_the_minimum_temperature():
    assert fit_temperature(np.eye(3), np.arange(3)) == pytest.approx(MIN_TEMPERATURE)


def test_mismatched_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(3, 2\)"):
        fit_temperature(np.ones((3, 2)), np.zeros(4, dtype=int))
