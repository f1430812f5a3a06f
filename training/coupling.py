"""How strongly the words of a document bear on each other: counted on train, fitted on dev."""

from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from backend.coupling import Coupling
from backend.decode import Scores, legal_steps, log_softmax, viterbi
from ner.document import Document
from ner.tags import IGNORED, OUTSIDE, TaggedWords, TagSet
from training.dev_side import temperature_of

Chunk = tuple[int, int, str]  # first word, one past the last, label
SHARES = tuple(step / 10 for step in range(8))  # of `Coupling.consistency`; all of it is too much
WEIGHTS = tuple(step / 10 for step in range(9))  # of the counted transitions
SEEN_BEFORE = 0.5  # times that every legal step was seen before the first (Jeffreys' prior)


def count_transitions(tags: Iterable[Sequence[int]], tag_set: TagSet) -> Scores:
    """How much likelier each tag is after another one than anywhere: pointwise mutual information.

    Args:
        tags: Of each document's words; those marked `ner.tags.IGNORED` and what follows them do not
            count.
        tag_set: What they are of.

    Returns:
        Log ratios of shape (tags + 1, tags), the last row for the start of a document; 0 for steps
        that are not legal.
    """
    legal = legal_steps(tag_set)
    start = len(tag_set)
    counts = np.where(legal, SEEN_BEFORE, 0.0)
    for of_document in tags:
        before = start
        for tag in of_document:
            if IGNORED not in (before, tag):
                counts[before, tag] += 1
            before = tag
    following = counts / counts.sum(axis=1, keepdims=True)
    anywhere = counts.sum(axis=0) / counts.sum()
    return np.log(np.where(legal, following / anywhere, 1.0))


def fit_coupling(
    dev: Sequence[Document],
    tagged: Sequence[TaggedWords],
    logits: Sequence[Scores],
    *,
    transitions: Scores,
    tag_set: TagSet,
) -> tuple[Coupling, float]:
    """Choose both weights by strict F1 on dev, one after the other until each has seen the other.

    Args:
        dev: Documents to choose by.
        tagged: Their words and gold tags.
        logits: Of those words, (words, tags) each.
        transitions: As `count_transitions` gives them.
        tag_set: The tags.

    Returns:
        The coupling, of equally good ones the weakest; and the temperature that suits it.
    """
    gold = [_chunks([max(tag, OUTSIDE) for tag in entry.tags], tag_set) for entry in tagged]
    legal = legal_steps(tag_set)

    def shared(share: float) -> list[Scores]:
        coupling = Coupling(share)
        return [
            coupling.share(document.text, entry.words, scores)
            for document, entry, scores in zip(dev, tagged, logits, strict=True)
        ]

    def temperature(share: float) -> float:
        return temperature_of(shared(share), [entry.tags for entry in tagged])

    @cache
    def log_probs(share: float) -> list[Scores]:
        fitted = temperature(share)
        return [log_softmax(scores, temperature=fitted) for scores in shared(share)]

    @cache
    def f1(share: float, weight: float) -> float:
        steps = weight * transitions
        found = (_tags(scores, legal, steps) for scores in log_probs(share))
        return _strict_f1(gold, [_chunks(tags, tag_set) for tags in found])

    weight = WEIGHTS[len(WEIGHTS) // 2]
    share = max(SHARES, key=lambda share: f1(share, weight))
    weight = max(WEIGHTS, key=lambda weight: f1(share, weight))
    share = max(SHARES, key=lambda share: f1(share, weight))
    rows = np.round(weight * transitions, 3) if weight else np.zeros((0, 0))
    return Coupling(share, tuple(map(tuple, rows.tolist()))), temperature(share)


def _tags(log_probs: Scores, legal: NDArray[np.bool_], steps: Scores) -> list[int]:
    """The best tags of a document, which may have no words."""
    return viterbi(log_probs, legal, steps).tolist() if len(log_probs) else []


def _chunks(tags: Sequence[int], tag_set: TagSet) -> set[Chunk]:
    """The entities of a document, in words."""
    return set(tag_set.chunks(tags))


def _strict_f1(gold: Sequence[set[Chunk]], found: Sequence[set[Chunk]]) -> float:
    """F1 of exact matches over documents."""
    right = sum(len(one & other) for one, other in zip(gold, found, strict=True))
    all_of_both = sum(map(len, gold)) + sum(map(len, found))
    return 2 * right / all_of_both if all_of_both else 0.0
