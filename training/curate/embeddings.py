"""Documents -> vectors: where an encoder sees them, so that alike ones lie close together."""

from collections.abc import Sequence

import numpy as np

from backend.encoder import EncoderTier
from backend.forward import TorchForward
from ner.document import Document
from training.curate.pool import Floats


def embed(tier: EncoderTier, documents: Sequence[Document]) -> Floats:
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
    forward = tier.forward
    if not isinstance(forward, TorchForward):
        raise TypeError(f"{forward.name} gives scores alone: load the version without its engine")
    width = forward.model.config.hidden_size
    vectors = np.zeros((len(documents), width))
    for start in range(0, len(documents), tier.chunk_documents):
        read = tier.read(documents[start : start + tier.chunk_documents])
        states = tier.gather(read, forward.hidden, width=width)
        for row, of_words in enumerate(states, start):
            vectors[row] = of_words.sum(axis=0, dtype=np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    # A sum and a mean differ in length alone.
    return np.divide(vectors, norms, out=vectors, where=norms > 0)
