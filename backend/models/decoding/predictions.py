"""Decode the tag scores of a document to entities and confidences, in both tiers alike."""

from collections.abc import Sequence

import numpy as np

from tagalong.backend.models.decoding.viterbi import FloatArray, legal_transitions, viterbi
from tagalong.ner.document import Prediction, Span
from tagalong.ner.tags import TagSet


def log_softmax(logits: FloatArray, *, temperature: float = 1.0) -> FloatArray:
    """Calibrated log-probabilities in float64, of the same shape (words, tags).

    A temperature above 1 lowers the confidence (Guo et al. 2017, "On Calibration of Modern Neural
    Networks").
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

    The score of a span is the geometric mean of the tag probabilities of its words; that of the
    document is MNLP, the mean log-probability of its words, exponentiated (Shen et al. 2018).
    `log_probs` has the shape (words, tags). Without legal `tags`, one per word, the best sequence
    is found with the `transitions`, as in `viterbi`.
    """
    if not words:
        return Prediction(spans=(), score=1.0, version=version)
    if tags is None:
        tags = viterbi(log_probs, legal_transitions(tag_set), transitions).tolist()
    chosen = log_probs[np.arange(len(words)), tags]
    entities = list(tag_set.entities(tags))
    scores = _geometric_means(chosen, [(first, end) for first, end, _ in entities])
    (document_score,) = _geometric_means(chosen, [(0, len(words))])
    return Prediction(
        spans=tuple(
            Span(words[first][0], words[end - 1][1], label, score=score)
            for (first, end, label), score in zip(entities, scores, strict=True)
        ),
        score=document_score,
        version=version,
        tag_confidences=tuple(np.exp(chosen).tolist()),
    )


def _geometric_means(log_probs: FloatArray, ranges: Sequence[tuple[int, int]]) -> list[float]:
    """The geometric mean over each range, never quite 0: Label Studio takes 0 for no score."""
    if not ranges:
        return []
    bounds = np.array(ranges)
    sums = np.concatenate(([0.0], log_probs.cumsum(dtype=np.float64)))
    means = (sums[bounds[:, 1]] - sums[bounds[:, 0]]) / (bounds[:, 1] - bounds[:, 0])
    return np.exp(means).clip(np.finfo(np.float32).tiny, 1.0).tolist()
