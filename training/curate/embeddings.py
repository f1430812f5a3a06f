"""Documents -> vectors: where an encoder sees them, so that alike ones lie close together."""

from collections.abc import Sequence

import numpy as np
import torch

from backend.encoder import PAD_MULTIPLE, EncodedWindow, EncoderTier, batch_by_length
from backend.precision import half_precision
from ner.document import Document
from ner.words import word_offsets
from training.curate.pool import Floats


def embed(tier: EncoderTier, documents: Sequence[Document]) -> Floats:
    """Place documents where an encoder sees them.

    Args:
        tier: The encoder, an adapter on it included.
        documents: Only their texts count.

    Returns:
        For each the mean of its words' last hidden states (of the first sub-word of each), of unit
        length: (documents, width). Nought where there are no words.
    """
    vectors = np.zeros((len(documents), tier.model.config.hidden_size))
    on_cpu = tier.model.device.type == "cpu"
    budget = tier.cpu_batch_tokens if on_cpu else tier.gpu_batch_tokens
    for start in range(0, len(documents), tier.chunk_documents):
        chunk = documents[start : start + tier.chunk_documents]
        words = [word_offsets(document.text) for document in chunk]
        windows = tier.windows.encode([document.text for document in chunk], words)
        lengths = [len(window.ids) for window in windows]
        for batch in batch_by_length(lengths, budget=budget):
            rows = [windows[index] for index in batch]
            for window, summed in zip(rows, _sums(tier, rows), strict=True):
                vectors[start + window.document] += summed
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    # A sum and a mean differ in length alone.
    return np.divide(vectors, norms, out=vectors, where=norms > 0)


@torch.inference_mode()
def _sums(tier: EncoderTier, windows: Sequence[EncodedWindow]) -> list[Floats]:
    """The sum of the hidden states of the words that each window of a batch owns."""
    device = tier.model.device
    padded = tier.windows.pad(windows, multiple=PAD_MULTIPLE)
    batch = {name: tensor.to(device) for name, tensor in padded.items()}
    with half_precision(device, wanted=tier.precision):
        last = tier.model(**batch, output_hidden_states=True).hidden_states[-1]
    states = last.float().cpu().numpy().astype(np.float64)
    return [
        row[window.owned_positions].sum(axis=0) for window, row in zip(windows, states, strict=True)
    ]
