"""Documents and a model that has not learnt from them -> what it says of every word."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tagalong.backend.models.decoding.predictions import log_softmax
from tagalong.backend.models.decoding.viterbi import FloatArray, legal_transitions, viterbi
from tagalong.backend.models.encoder.tier import EncoderTier
from tagalong.ner.document import Document


@dataclass(frozen=True, slots=True)
class TagDistribution:
    """What a model says of the words of one document.

    Attributes:
        log_probs: Calibrated log-probability of every tag, shape (words, tags).
        tags: The most probable legal sequence, shape (words,).
    """

    log_probs: FloatArray
    predicted_tags: NDArray[np.intp]


def predict_tag_distributions(
    tier: EncoderTier, documents: Sequence[Document]
) -> list[TagDistribution]:
    """Have a model judge the words of documents.

    Args:
        tier: The model, with the coupling and the temperature it serves with.
        documents: Only their texts count.

    Returns:
        One opinion per document, in the same order.
    """
    legal, steps = legal_transitions(tier.tag_set), tier.score_refiner.transition_matrix()
    opinions = []
    for start in range(0, len(documents), tier.documents_per_chunk):
        read = tier.encode(documents[start : start + tier.documents_per_chunk])
        for one, logits in zip(read, tier.compute_logits(read), strict=True):
            shared = tier.score_refiner.smooth(one.document.text, one.words, logits)
            log_probs = log_softmax(shared, temperature=tier.temperature)
            tags = viterbi(log_probs, legal, steps) if one.words else np.zeros(0, np.intp)
            opinions.append(TagDistribution(log_probs, tags))
    return opinions
