"""The best legal sequence of tags."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tagalong.ner.tags import OUTSIDE, TagSet

FloatArray = NDArray[np.floating]
FORBIDDEN_LOG_PROB = (
    -1e30
)  # the log-probability of an illegal step; finite, so that sums stay numbers


@lru_cache(maxsize=16)  # half a millisecond for twenty types, and asked for with every document
def legal_transitions(tag_set: TagSet) -> NDArray[np.bool_]:
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
    log_probs: FloatArray,
    legal_transitions: NDArray[np.bool_],
    transitions: FloatArray | None = None,
) -> NDArray[np.intp]:
    """The most probable legal tag sequence (Viterbi 1967).

    Of most words it is certain beforehand that they are outside, whatever their neighbours are:
    only the others are gone through one by one.

    Args:
        log_probs: Shape (words, tags).
        legal_transitions: As `legal_transitions` gives it.
        transitions: Added for each step, of the shape of `legal`; None where words are independent
            but for legality.

    Returns:
        Shape (words,), tag ids.
    """
    best: NDArray[np.intp] = log_probs.argmax(axis=1)
    previous = np.concatenate(([legal_transitions.shape[1]], best[:-1]))
    if transitions is None and legal_transitions[previous, best].all():
        return best  # the best of all sequences is legal, hence the best of the legal ones
    steps = np.where(
        legal_transitions, 0.0 if transitions is None else transitions, FORBIDDEN_LOG_PROB
    )
    outside = _find_certainly_outside(log_probs, legal_transitions, steps)
    # Of several such words in a row one is enough: the steps between them are all the same.
    visited = ~outside
    visited[0] = True
    visited[1:] |= ~outside[:-1]
    scores = log_probs[visited]
    scores[outside[visited], OUTSIDE + 1 :] = FORBIDDEN_LOG_PROB
    best[:] = OUTSIDE
    best[visited] = _best_path(scores, steps)
    return best


def _find_certainly_outside(
    log_probs: FloatArray, legal: NDArray[np.bool_], steps: FloatArray
) -> NDArray[np.bool_]:
    """Which words are outside in every best sequence.

    Take a sequence with another tag at such a word. Put O in its place and, if the next word goes
    on with an entity, have it begin one instead: that is legal, and the word's margin is more than
    all that can be lost by it, in the two steps around it, in the next word's tag and in the step
    after that.
    """
    inside = np.flatnonzero(~legal[OUTSIDE])
    begin = inside - 1
    onto = steps[OUTSIDE].copy()  # the step from O to each tag, or to what takes its place
    onto[inside] = onto[begin]
    others = slice(OUTSIDE + 1, legal.shape[1])
    lost = (
        np.where(legal[:, others], steps[:, others] - steps[:, [OUTSIDE]], FORBIDDEN_LOG_PROB).max()
        + np.where(legal[others], steps[others] - onto, 0.0).max(initial=0.0)
        + np.where(legal[inside], steps[inside] - steps[begin], 0.0).max(initial=0.0)
    )
    margins = log_probs[:, OUTSIDE] - log_probs[:, others].max(axis=1, initial=FORBIDDEN_LOG_PROB)
    begun = np.zeros(len(log_probs))
    begun[:-1] = (log_probs[1:, inside] - log_probs[1:, begin]).max(axis=1, initial=0.0)
    certain: NDArray[np.bool_] = margins > lost + begun
    return certain


def _best_path(log_probs: FloatArray, steps: FloatArray) -> NDArray[np.intp]:
    """The best sequence of at least one word, by the scores of words and of steps."""
    reached = steps[-1] + log_probs[0]
    came_from = np.empty(log_probs.shape, dtype=np.intp)
    backwards = np.ascontiguousarray(steps[:-1].T)  # row = the tag after
    paths = np.empty_like(backwards)
    for scores, origins in zip(log_probs[1:], came_from[1:], strict=True):  # in place: it is hot
        np.add(backwards, reached, out=paths)
        paths.argmax(axis=1, out=origins)
        np.maximum.reduce(paths, axis=1, out=reached)
        reached += scores
    tag = int(reached.argmax())
    path = [tag]
    for origins in came_from[:0:-1].tolist():
        tag = origins[tag]
        path.append(tag)
    return np.array(path[::-1], dtype=np.intp)
