"""What an encoder says of words is calibrated as it is where it serves."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tagalong.backend.models.decoding.viterbi import FloatArray
from tagalong.backend.models.encoder.tier import EncodedDocument, EncoderTier
from tagalong.ner.document import Document
from tagalong.ner.tags import TagSet
from tagalong.ner.words import word_offsets
from tagalong.training.curate.tag_distributions import predict_tag_distributions


class Scripted(EncoderTier):
    """Gives every word the same logits."""

    logits = (2 * math.log(2), 0.0, 0.0)

    def encode(self, documents: Any) -> list[EncodedDocument]:
        return [
            EncodedDocument(document, word_offsets(document.text), ()) for document in documents
        ]

    def run(self, encoded: Any) -> list[FloatArray]:
        return [np.array([self.logits] * len(one.words)).reshape(-1, 3) for one in encoded]


def test_probabilities_are_of_the_temperature_that_is_served_with() -> None:
    runner: Any = SimpleNamespace(
        name="scripted", can_use_openvino=False, streams=1, documents_per_request_chunk=1
    )
    window_encoder: Any = None
    tags = TagSet(("Disease",))
    tier = Scripted(runner, window_encoder, tag_set=tags, version="v", temperature=2.0)
    two, none = predict_tag_distributions(tier, [Document("1", "alpha beta"), Document("2", "")])
    # The logits halved are ln 2, 0 and 0: of four parts O has two. As they are, it would be 4 of 6.
    assert np.exp(two.log_probs) == pytest.approx(np.array([[2 / 4, 1 / 4, 1 / 4]] * 2))
    assert two.predicted_tags.tolist() == [0, 0]
    assert (none.log_probs.shape, none.predicted_tags.shape) == ((0, 3), (0,))
