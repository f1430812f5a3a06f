"""Tag scores to tags, spans and confidences: what both tiers do after their model has spoken."""

from collections.abc import Sequence

import numpy as np

from tagalong.backend.models.decoding.viterbi import FloatArray, legal_transitions, viterbi
from tagalong.ner.document import Prediction, Span
from tagalong.ner.tags import TagSet


def log_softmax(logits: FloatArray, *, temperature: float = 1.0) -> FloatArray:
    """Calibrated log-probabilities.

    Args:
        logits: Shape (words, tags).
        temperature: Above 1 makes the model less sure of itself (Guo et al. 2017, "On Calibration
            of Modern Neural Networks").

    Returns:
        Shape (words, tags), float64.
    """
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=-1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(axis=-1, keepdims=True))


def decode_prediction(
    words: Sequence[tuple[int, int]],
    log_probs: FloatArray,
    *,
    tag_set: TagSet,
    version: str,
    tags: Sequence[int] | None = None,
    transitions: FloatArray | None = None,
) -> Prediction:
    """Decode one document.

    A span's score is the geometric mean of its words' tag probabilities; the document's is MNLP,
    the mean log-probability over its words, exponentiated (Shen et al. 2018).

    Args:
        words: Offsets of its words.
        log_probs: Shape (words, tags).
        tag_set: The tags.
        version: The model version to name.
        tags: One legal tag per word, where they were decided already; None for the best sequence.
        transitions: See `viterbi`.

    Returns:
        Spans with scores, the document's score, and every word's confidence.
    """
    if not words:
        return Prediction(spans=(), score=1.0, version=version)
    if tags is None:
        tags = viterbi(log_probs, legal_transitions(tag_set), transitions).tolist()
    chosen = log_probs[np.arange(len(words)), tags]
    chunks = list(tag_set.entities(tags))
    spans = [
        Span(words[first][0], words[last - 1][1], label, score=score)
        for (first, last, label), score in zip(
            chunks, _geometric_means(chosen, chunks), strict=True
        )
    ]
    (score,) = _geometric_means(chosen, [(0, len(words), "")])
    return Prediction(
        spans=tuple(spans),
        score=score,
        version=version,
        tag_confidences=tuple(np.exp(chosen).tolist()),
    )


def _geometric_means(log_probs: FloatArray, chunks: Sequence[tuple[int, int, str]]) -> list[float]:
    """The geometric mean of each chunk, never quite 0: Label Studio takes 0 for no score."""
    if not chunks:
        return []
    bounds = np.array([(first, last) for first, last, _ in chunks])
    sums = np.concatenate(([0.0], log_probs.cumsum(dtype=np.float64)))
    means = (sums[bounds[:, 1]] - sums[bounds[:, 0]]) / (bounds[:, 1] - bounds[:, 0])
    return np.exp(means).clip(np.finfo(np.float32).tiny, 1.0).tolist()
