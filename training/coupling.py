"""How strongly the words of a document bear on each other: counted on train, fitted on dev."""

from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from backend.coupling import Coupling
from backend.decode import log_softmax
from backend.viterbi import Scores, legal_steps, viterbi
from ner.document import Document
from ner.tags import IGNORED, OUTSIDE, TaggedWords, TagSet
from training.dev_side import temperature_of

Chunk = tuple[int, int, str]  # first word, one past the last, label
SHARES = tuple(step / 10 for step in range(8))  # of `Coupling.consistency`; all of it is too much
WEIGHTS = tuple(step / 10 for step in range(9))  # of the counted transitions
DIGITS = 3  # of the transitions that a manifest keeps: what serves is then what was judged
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

    @cache
    def shared(share: float) -> tuple[list[Scores], float]:
        """What words say with that share of it shared, and at which temperature."""
        coupling = Coupling(share)
        scores = [
            coupling.share(document.text, entry.words, own)
            for document, entry, own in zip(dev, tagged, logits, strict=True)
        ]
        fitted = temperature_of(scores, [entry.tags for entry in tagged])
        return [log_softmax(one, temperature=fitted) for one in scores], fitted

    @cache
    def f1(share: float, weight: float) -> float:
        log_probs, _ = shared(share)
        found = (_tags(scores, legal, weight * transitions) for scores in log_probs)
        return _strict_f1(gold, [_chunks(tags, tag_set) for tags in found])

    weight = WEIGHTS[len(WEIGHTS) // 2]
    share = max(SHARES, key=lambda share: f1(share, weight))
    weight = max(WEIGHTS, key=lambda weight: f1(share, weight))
    share = max(SHARES, key=lambda share: f1(share, weight))
    rows = np.round(weight * transitions, DIGITS).tolist() if weight else []
    return Coupling(share, tuple(map(tuple, rows))), shared(share)[1]


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
