"""Tag scores to tags, spans and confidences: what both tiers do after their model has spoken."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ner.document import Prediction, Span
from ner.tags import TagSet

Scores = NDArray[np.floating]
FORBIDDEN = -1e30  # the log-probability of an illegal step; finite, so that sums stay numbers


def log_softmax(logits: Scores, *, temperature: float = 1.0) -> Scores:
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


@lru_cache(maxsize=16)  # half a millisecond for twenty types, and asked for with every document
def legal_steps(tag_set: TagSet) -> NDArray[np.bool_]:
    """Which tag may follow which.

    Args:
        tag_set: The tags.

    Returns:
        Shape (tags + 1, tags): row = the tag before, the last row = the start of a document. The
        same array every time, so it cannot be written to.
    """
    tags = range(len(tag_set))
    legal = np.array(
        [[tag_set.may_follow(tag, previous) for tag in tags] for previous in (*tags, None)]
    )
    legal.flags.writeable = False
    return legal


def viterbi(
    log_probs: Scores, legal: NDArray[np.bool_], transitions: Scores | None = None
) -> NDArray[np.intp]:
    """The most probable legal tag sequence (Viterbi 1967).

    Args:
        log_probs: Shape (words, tags).
        legal: As `legal_steps` gives it.
        transitions: Added for each step, of the shape of `legal`; None where words are independent
            but for legality.

    Returns:
        Shape (words,), tag ids.
    """
    best: NDArray[np.intp] = log_probs.argmax(axis=1)
    previous = np.concatenate(([legal.shape[1]], best[:-1]))
    if transitions is None and legal[previous, best].all():
        return best  # the best of all sequences is legal, hence the best of the legal ones
    steps = np.where(legal, 0.0 if transitions is None else transitions, FORBIDDEN)
    reached = steps[-1] + log_probs[0]
    came_from = np.empty(log_probs.shape, dtype=np.intp)
    backwards = np.ascontiguousarray(steps[:-1].T)  # row = the tag after
    paths = np.empty_like(backwards)
    for scores, origins in zip(log_probs[1:], came_from[1:], strict=True):  # in place: it is hot
        np.add(backwards, reached, out=paths)
        paths.argmax(axis=1, out=origins)
        np.maximum.reduce(paths, axis=1, out=reached)
        reached += scores
    best[-1] = reached.argmax()
    for word in range(len(log_probs) - 1, 0, -1):
        best[word - 1] = came_from[word, best[word]]
    return best


def predict(
    words: Sequence[tuple[int, int]],
    log_probs: Scores,
    *,
    tag_set: TagSet,
    version: str,
    tags: Sequence[int] | None = None,
    transitions: Scores | None = None,
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
        tags = viterbi(log_probs, legal_steps(tag_set), transitions).tolist()
    chosen = log_probs[np.arange(len(words)), tags]
    spans = [
        Span(words[first][0], words[last - 1][1], label, score=_probability(chosen[first:last]))
        for first, last, label in tag_set.chunks(tags)
    ]
    return Prediction(
        spans=tuple(spans),
        score=_probability(chosen),
        version=version,
        confidences=tuple(np.exp(chosen).tolist()),
    )


def _probability(log_probs: Scores) -> float:
    """The geometric mean of probabilities, never quite 0: Label Studio takes 0 for no score."""
    return float(max(np.exp(log_probs.mean()), np.finfo(np.float32).tiny))
