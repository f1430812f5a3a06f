"""Label consistency and transitions: counted on train, fitted on dev."""

import numpy as np
import pytest

from tagalong.backend.models.decoding.predictions import ScoreRefiner
from tagalong.backend.models.decoding.viterbi import legal_transitions
from tagalong.ner.document import Document
from tagalong.ner.tags import IGNORE_INDEX, TaggedWords, TagSet
from tagalong.ner.words import word_offsets
from tagalong.training.encoder.consistency import estimate_transitions, fit_score_refiner

TAGS = TagSet(("Chemical",))
O, B, I = range(3)  # noqa: E741


def fit(texts_and_tags, logits, transitions=None):
    tagged = [TaggedWords(tuple(word_offsets(t)), tuple(tags), ()) for t, tags in texts_and_tags]
    documents = [Document(str(n), text) for n, (text, _) in enumerate(texts_and_tags)]
    if transitions is None:
        transitions = np.zeros((len(TAGS) + 1, len(TAGS)))
    return fit_score_refiner(
        documents, tagged, [np.array(one, np.float32) for one in logits],
        transitions=transitions, tag_set=TAGS,
    )  # fmt: skip


def test_tag_transitions_are_counted():
    found = estimate_transitions([[B, I, I, O] * 50], TAGS)
    assert found.shape == (len(TAGS) + 1, len(TAGS))
    assert found[B, I] > 0 > found[B, O]
    assert found[O, B] > 0 > found[O, O]
    assert (found[~legal_transitions(TAGS)] == 0).all()


def test_masked_words_are_not_counted():
    known = estimate_transitions([[B, I], [O, O]], TAGS)
    assert estimate_transitions(
        [[B, I, IGNORE_INDEX], [IGNORE_INDEX, I], [O, O]], TAGS
    ) == pytest.approx(known)


def test_consistency_finds_recurring_words():
    text = "lithium was here and lithium there"
    tags = [B, O, O, O, B, O]
    sure, unsure, outside = [-4, 4, -4], [0.5, 0, -4], [4, -4, -4]
    scores = [sure, outside, outside, outside, unsure, outside]
    coupling, temperature = fit([(text, tags)], [scores])
    assert coupling.consistency_weight > 0
    assert temperature > 0


def test_transitions_improve_long_entities():
    transitions = estimate_transitions([[B, I, O, O] * 50], TAGS)
    hesitant = [[4, -4, -4], [-4, 4, -4], [0.3, -4, 0.0], [4, -4, -4]]
    coupling, _ = fit([("a b c d", [O, B, I, O])], [hesitant], transitions)
    steps = coupling.transition_matrix()
    assert steps is not None
    assert steps[B, I] > steps[B, O]


def test_no_consistency_without_gain():
    right = [[4, -4, -4], [-4, 4, -4], [4, -4, -4]]
    assert fit([("a b a", [O, B, O])], [right])[0] == ScoreRefiner()
    assert fit([("", [])], [np.zeros((0, 3))])[0] == ScoreRefiner()
