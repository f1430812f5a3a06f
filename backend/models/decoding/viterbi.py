"""The best legal sequence of tags."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tagalong.ner.tags import OUTSIDE, TagSet

FloatArray = NDArray[np.floating]
FORBIDDEN_LOG_PROB = -1e30  # of an illegal step; finite, so that sums stay numbers


@lru_cache(maxsize=16)  # half a millisecond for twenty types, and needed for every document
def legal_transitions(tag_set: TagSet) -> NDArray[np.bool_]:
    """Which tag may follow which: (tags + 1, tags); the last row is for the start of a document.

    The row is the tag before. The array is cached, so it is read-only.
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

    Only words are searched for which a tag other than O may win. The shape of `log_probs` is
    (words, tags). `transitions` are added for each step, and have the shape of `legal_transitions`.
    """
    best: NDArray[np.intp] = log_probs.argmax(axis=1)
    previous = np.concatenate(([legal_transitions.shape[1]], best[:-1]))
    if transitions is None and legal_transitions[previous, best].all():
        return best  # the best of all sequences is legal, hence the best of the legal ones
    steps = np.where(
        legal_transitions, 0.0 if transitions is None else transitions, FORBIDDEN_LOG_PROB
    )
    outside = _find_certainly_outside(log_probs, legal_transitions, steps)
    # One word of a run of such words is enough: the steps within the run add the same to all paths.
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

    Proof: take a sequence with another tag at such a word. Replace the tag by O, and an I- tag of
    the next word by its B- tag, which is legal. The gain, the word's margin, exceeds the largest
    loss. That is the loss in the two steps around the word, in the next word's tag, and in the step
    after it.
    """
    inside = np.flatnonzero(~legal[OUTSIDE])
    begin = inside - 1
    onto = steps[OUTSIDE].copy()  # the step from O to each tag, or to its B- tag
    onto[inside] = onto[begin]
    others = slice(OUTSIDE + 1, legal.shape[1])
    largest_loss = (
        np.where(legal[:, others], steps[:, others] - steps[:, [OUTSIDE]], FORBIDDEN_LOG_PROB).max()
        + np.where(legal[others], steps[others] - onto, 0.0).max(initial=0.0)
        + np.where(legal[inside], steps[inside] - steps[begin], 0.0).max(initial=0.0)
    )
    margins = log_probs[:, OUTSIDE] - log_probs[:, others].max(axis=1, initial=FORBIDDEN_LOG_PROB)
    next_loss = np.zeros(len(log_probs))
    next_loss[:-1] = (log_probs[1:, inside] - log_probs[1:, begin]).max(axis=1, initial=0.0)
    certain: NDArray[np.bool_] = margins > largest_loss + next_loss
    return certain


def _best_path(log_probs: FloatArray, steps: FloatArray) -> NDArray[np.intp]:
    """The best sequence of at least one word."""
    reached = steps[-1] + log_probs[0]
    came_from = np.empty(log_probs.shape, dtype=np.intp)
    steps_to = np.ascontiguousarray(steps[:-1].T)  # a row for the tag after
    paths = np.empty_like(steps_to)
    for scores, origins in zip(log_probs[1:], came_from[1:], strict=True):  # in place: the hot loop
        np.add(steps_to, reached, out=paths)
        paths.argmax(axis=1, out=origins)
        np.maximum.reduce(paths, axis=1, out=reached)
        reached += scores
    tag = int(reached.argmax())
    path = [tag]
    for origins in came_from[:0:-1].tolist():
        tag = origins[tag]
        path.append(tag)
    return np.array(path[::-1], dtype=np.intp)
