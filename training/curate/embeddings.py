"""Document vectors from an encoder: similar documents have similar vectors."""

from collections.abc import Sequence

import numpy as np

from tagalong.backend.models.encoder.runner import TorchRunner
from tagalong.backend.models.encoder.tier import EncoderTier
from tagalong.ner.document import Document
from tagalong.training.evaluation.bootstrap import Float64Array


def embed_documents(tier: EncoderTier, documents: Sequence[Document]) -> Float64Array:
    """Embed documents as the mean hidden state of their words.

    Args:
        tier: Encoder, with its adapter if any.
        documents: Documents; spans are ignored.

    Returns:
        Unit vectors, shape (documents, width), over the first sub-word of each word; 0 without
        words.

    Raises:
        TypeError: If the encoder does not run on PyTorch.
    """
    runner = tier.runner
    if not isinstance(runner, TorchRunner):
        raise TypeError(
            f"{runner.name} has no hidden states: load the version with use_openvino=False"
        )
    width = runner.model.config.hidden_size
    vectors = np.zeros((len(documents), width))
    for start in range(0, len(documents), tier.documents_per_chunk):
        encoded = tier.encode(documents[start : start + tier.documents_per_chunk])
        states = tier.collect_word_values(encoded, runner.compute_hidden_states, width=width)
        for row, word_states in enumerate(states, start):
            vectors[row] = word_states.sum(axis=0, dtype=np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    # The sum has the direction of the mean.
    return np.divide(vectors, norms, out=vectors, where=norms > 0)
