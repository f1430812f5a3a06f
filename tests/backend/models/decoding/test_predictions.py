"""Probabilities, confidences and label consistency against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tagalong.backend.models.decoding.predictions import (
    ScoreRefiner,
    decode_prediction,
    log_softmax,
)
from tagalong.ner.tags import TagSet
from tagalong.ner.words import PARTS, SCRIPTS, word_offsets

TAGS = TagSet(("Chemical", "Disease"))
LOGITS = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.just(len(TAGS))),
    elements=st.floats(-8, 8, width=32),
)


@given(LOGITS, st.floats(0.25, 4))
def test_probabilities_sum_to_1_at_any_temperature(logits, temperature):
    assert np.exp(log_softmax(logits, temperature=temperature)).sum(axis=1) == pytest.approx(1.0)


@given(LOGITS)
def test_scores_are_geometric_means_between_0_and_1(logits):
    words = word_offsets("a b c d e"[: 2 * len(logits) - 1])
    log_probs = log_softmax(logits)
    prediction = decode_prediction(words, log_probs, tag_set=TAGS, version="v")
    assert len(prediction.tag_confidences) == len(words)
    assert 0 < prediction.score <= 1
    assert prediction.score == pytest.approx(np.exp(np.log(prediction.tag_confidences).mean()))
    for span in prediction.spans:
        inside = [words.index(word) for word in words if span.start <= word[0] < span.end]
        expected = np.exp(np.log([prediction.tag_confidences[word] for word in inside]).mean())
        assert span.score == pytest.approx(expected)


def test_document_without_words_has_score_1():
    prediction = decode_prediction([], np.zeros((0, 5)), tag_set=TAGS, version="v")
    assert (prediction.spans, prediction.score, prediction.tag_confidences) == ((), 1.0, ())


WORDS = st.lists(st.sampled_from(["all", "All", "ALL", "x", "X", "12", ",", "é", "É"]), min_size=1)


def shared(words, consistency, *, seed=0):
    text = " ".join(words)
    offsets = word_offsets(text)
    logits = np.random.default_rng(seed).normal(size=(len(offsets), 5)).astype(np.float32)
    return logits, ScoreRefiner(consistency).smooth(text, offsets, logits)


@given(WORDS, st.floats(0, 1))
def test_label_consistency_keeps_the_sum_of_scores(words, consistency):
    before, after = shared(words, consistency)
    assert after.shape == before.shape
    assert after.sum(axis=0) == pytest.approx(before.sum(axis=0), abs=1e-4)


@given(WORDS)
def test_full_sharing_gives_equal_words_equal_scores(words):
    _, after = shared(words, 1.0)
    same = {"all": "all", "All": "all", "ALL": "ALL", "x": "x", "X": "x", "é": "é", "É": "é"}
    for one, scores in zip(words, after, strict=True):
        for other, others in zip(words, after, strict=True):
            if one in same and same[one] == same.get(other):
                assert scores == pytest.approx(others)


@given(WORDS)
def test_unique_words_punctuation_and_numbers_keep_scores(words):
    before, after = shared(words, 0.5)
    for number, word in enumerate(words):
        if word in ("12", ",") or (word == "ALL" and words.count(word) == 1):
            assert after[number] == pytest.approx(before[number])


def test_recurring_word_is_mixed_with_its_other_occurrences():
    before, after = shared(["all", "x", "All"], 0.25)
    mean = (before[0] + before[2]) / 2
    assert after[0] == pytest.approx(0.75 * before[0] + 0.25 * mean, abs=1e-6)
    assert after[1] == pytest.approx(before[1])


@given(WORDS)
def test_label_consistency_ignores_order(words):
    before, after = shared(words, 0.5)
    text = " ".join(reversed(words))
    backwards = ScoreRefiner(0.5).smooth(text, word_offsets(text), before[::-1])
    assert backwards[::-1] == pytest.approx(after, abs=1e-5)


def test_label_consistency_is_off_by_default():
    before, after = shared(["a", "a"], 0.0)
    assert after is before
    assert ScoreRefiner().transition_matrix() is None
    assert ScoreRefiner().smooth("", [], np.zeros((0, 5))).shape == (0, 5)


def test_label_consistency_round_trips_through_manifest():
    coupling = ScoreRefiner(0.3, ((0.5, -1.25), (0.0, 2.0)))
    assert ScoreRefiner.from_json({"temperature": 1.2} | coupling.to_json()) == coupling
    assert ScoreRefiner.from_json({"temperature": 1.2}) == ScoreRefiner()


def test_characters_of_longer_names_share_no_scores() -> None:
    """The same character stands in many names."""
    text = "高血压 高热 p53null p16"
    for rule in (SCRIPTS, PARTS):
        words = rule.find_words(text)
        logits = np.random.default_rng(0).normal(size=(len(words), len(TAGS)))
        np.testing.assert_array_equal(ScoreRefiner(0.5).smooth(text, words, logits), logits)
