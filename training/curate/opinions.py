"""Documents and a model that has not learnt from them -> what it says of every word."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.decode import log_softmax
from backend.encoder import EncoderTier
from backend.viterbi import Scores, legal_steps, viterbi
from ner.document import Document


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a model says of the words of one document.

    Attributes:
        log_probs: Calibrated log-probability of every tag, shape (words, tags).
        tags: The most probable legal sequence, shape (words,).
    """

    log_probs: Scores
    tags: NDArray[np.intp]


def ask(tier: EncoderTier, documents: Sequence[Document]) -> list[Opinion]:
    """Have a model judge the words of documents.

    Args:
        tier: The model, with the coupling and the temperature it serves with.
        documents: Only their texts count.

    Returns:
        One opinion per document, in the same order.
    """
    legal, steps = legal_steps(tier.tag_set), tier.coupling.steps()
    opinions = []
    for start in range(0, len(documents), tier.chunk_documents):
        read = tier.read(documents[start : start + tier.chunk_documents])
        for one, logits in zip(read, tier.score(read), strict=True):
            shared = tier.coupling.share(one.document.text, one.words, logits)
            log_probs = log_softmax(shared, temperature=tier.temperature)
            tags = viterbi(log_probs, legal, steps) if one.words else np.zeros(0, np.intp)
            opinions.append(Opinion(log_probs, tags))
    return opinions
