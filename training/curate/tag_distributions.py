"""Tag probabilities of an encoder, calibrated as in serving."""

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
    """Tag probabilities of one document.

    Attributes:
        log_probs: Calibrated log-probabilities, shape (words, tags).
        predicted_tags: Most probable legal tag sequence, shape (words,).
    """

    log_probs: FloatArray
    predicted_tags: NDArray[np.intp]


def predict_tag_distributions(
    tier: EncoderTier, documents: Sequence[Document]
) -> list[TagDistribution]:
    """Compute the tag probabilities of documents, in order; spans are ignored."""
    legal, transitions = legal_transitions(tier.tag_set), tier.score_refiner.transition_matrix()
    distributions = []
    for start in range(0, len(documents), tier.documents_per_chunk):
        encoded = tier.encode(documents[start : start + tier.documents_per_chunk])
        for one, logits in zip(encoded, tier.run(encoded), strict=True):
            smoothed = tier.score_refiner.smooth(one.document.text, one.words, logits)
            log_probs = log_softmax(smoothed, temperature=tier.temperature)
            tags = viterbi(log_probs, legal, transitions) if one.words else np.zeros(0, np.intp)
            distributions.append(TagDistribution(log_probs, tags))
    return distributions
