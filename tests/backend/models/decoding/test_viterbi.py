"""Viterbi against brute force, with and without certain words."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tagalong.backend.models.decoding import viterbi as viterbi_module
from tagalong.backend.models.decoding.predictions import log_softmax
from tagalong.backend.models.decoding.viterbi import legal_transitions, viterbi
from tagalong.ner.tags import TagSet

TAGS = TagSet(("Chemical", "Disease"))
SEQUENCES = {words: list(product(range(len(TAGS)), repeat=words)) for words in range(1, 6)}


def logits(most: float) -> st.SearchStrategy:
    """Scores of a few words. A wide range makes many words certain."""
    shape = st.tuples(st.integers(1, 5), st.just(len(TAGS)))
    return arrays.arrays(np.float32, shape, elements=st.floats(-most, most, width=32))


def transitions(most: float) -> st.SearchStrategy:
    shape = (len(TAGS) + 1, len(TAGS))
    return arrays.arrays(np.float64, shape, elements=st.floats(-most, most))


def is_legal(tags) -> bool:
    return all(
        TAGS.may_follow(tag, before) for tag, before in zip(tags, (None, *tags), strict=False)
    )


def total(tags, log_probs, steps) -> float:
    pairs = zip((len(TAGS), *tags), tags, strict=False)
    words = sum(log_probs[word, tag] for word, tag in enumerate(tags))
    return words + sum(steps[before, tag] for before, tag in pairs)


def assert_best(found, log_probs, steps) -> None:
    best = max(
        total(tags, log_probs, steps) for tags in SEQUENCES[len(log_probs)] if is_legal(tags)
    )
    assert is_legal(found.tolist())
    assert total(found.tolist(), log_probs, steps) == pytest.approx(best)


@given(logits(8))
def test_best_legal_sequence_is_found(scores):
    log_probs = log_softmax(scores)
    found = viterbi(log_probs, legal_transitions(TAGS))
    assert_best(found, log_probs, np.zeros((len(TAGS) + 1, len(TAGS))))


@given(st.one_of(logits(3), logits(8), logits(40)), st.one_of(transitions(0.5), transitions(3)))
def test_best_legal_sequence_is_found_with_transitions(scores, steps):
    log_probs = log_softmax(scores)
    assert_best(viterbi(log_probs, legal_transitions(TAGS), steps), log_probs, steps)


def test_certain_words_are_skipped(monkeypatch):
    """Of a hundred words, two are uncertain: steps for those, and one for each certain run."""
    seen = []
    best_path = viterbi_module._best_path
    monkeypatch.setattr(
        viterbi_module,
        "_best_path",
        lambda scores, steps: seen.append(len(scores)) or best_path(scores, steps),
    )
    scores = np.zeros((100, len(TAGS)))
    scores[:, 0] = 12.0
    scores[[30, 60], 0] = 0.0
    viterbi(log_softmax(scores), legal_transitions(TAGS), np.full((len(TAGS) + 1, len(TAGS)), 0.1))
    assert seen == [5]


@pytest.mark.parametrize("seed", range(200))
def test_skipping_certain_words_changes_no_result(seed):
    """Sequences with certain and uncertain words, against full Viterbi."""
    chance = np.random.default_rng(seed)
    scores = chance.normal(0, 3, (40, len(TAGS)))
    scores[:, 0] += chance.choice([0.0, 3.0, 6.0, 9.0, 12.0], 40)
    log_probs = log_softmax(scores)
    steps = chance.normal(0, chance.choice([0.1, 0.5, 1.0]), (len(TAGS) + 1, len(TAGS)))
    legal = legal_transitions(TAGS)
    best = np.where(legal[-1], steps[-1], -np.inf) + log_probs[0]
    for word in log_probs[1:]:
        best = (best[:, None] + np.where(legal[:-1], steps[:-1], -np.inf)).max(axis=0) + word
    found = viterbi(log_probs, legal, steps).tolist()
    assert is_legal(found)
    assert total(found, log_probs, steps) == pytest.approx(best.max(), abs=1e-9)
