"""Documents -> vectors: where an encoder sees them, so that alike ones lie close together."""

from collections.abc import Sequence

import numpy as np

from tagalong.backend.models.encoder.runner import TorchRunner
from tagalong.backend.models.encoder.tier import EncoderTier
from tagalong.ner.document import Document
from tagalong.training.curate.pool import Float64Array


def embed_documents(tier: EncoderTier, documents: Sequence[Document]) -> Float64Array:
    """Place documents where an encoder sees them.

    Args:
        tier: The encoder, an adapter on it included.
        documents: Only their texts count.

    Returns:
        For each the mean of its words' last hidden states (of the first sub-word of each), of unit
        length: (documents, width). Nought where there are no words.

    Raises:
        TypeError: If its passes are not run by PyTorch.
    """
    forward = tier.runner
    if not isinstance(forward, TorchRunner):
        raise TypeError(f"{forward.name} gives scores alone: load the version without its engine")
    width = forward.model.config.hidden_size
    vectors = np.zeros((len(documents), width))
    for start in range(0, len(documents), tier.documents_per_chunk):
        read = tier.encode(documents[start : start + tier.documents_per_chunk])
        states = tier.collect_word_values(read, forward.compute_hidden_states, width=width)
        for row, of_words in enumerate(states, start):
            vectors[row] = of_words.sum(axis=0, dtype=np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    # A sum and a mean differ in length alone.
    return np.divide(vectors, norms, out=vectors, where=norms > 0)
