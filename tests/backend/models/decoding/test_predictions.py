"""Probabilities and confidences against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tagalong.backend.models.decoding.predictions import decode_prediction, log_softmax
from tagalong.ner.tags import TagSet
from tagalong.ner.words import word_offsets

TAGS = TagSet(("Chemical", "Disease"))
LOGITS = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.just(len(TAGS))),
    elements=st.floats(-8, 8, width=32),
)


@given(LOGITS, st.floats(0.25, 4))
def test_probabilities_add_up_at_any_temperature(logits, temperature):
    assert np.exp(log_softmax(logits, temperature=temperature)).sum(axis=1) == pytest.approx(1.0)


@given(LOGITS)
def test_scores_are_geometric_means_in_the_unit_interval(logits):
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


def test_a_document_without_words_is_sure_of_itself():
    prediction = decode_prediction([], np.zeros((0, 5)), tag_set=TAGS, version="v")
    assert (prediction.spans, prediction.score, prediction.tag_confidences) == ((), 1.0, ())
