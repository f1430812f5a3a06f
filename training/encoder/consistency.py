"""How strongly the words of a document bear on each other: counted on train, fitted on dev."""

from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tagalong.backend.models.decoding.consistency import ScoreRefiner
from tagalong.backend.models.decoding.predictions import log_softmax
from tagalong.backend.models.decoding.viterbi import FloatArray, legal_transitions, viterbi
from tagalong.ner.document import Document
from tagalong.ner.tags import IGNORE_INDEX, OUTSIDE, TaggedWords, TagSet
from tagalong.training.loop.validation import fit_temperature_on_dev

WordEntity = tuple[int, int, str]  # first word, one past the last, label
SMOOTHING_WEIGHTS = tuple(
    step / 10 for step in range(8)
)  # of `ScoreRefiner.consistency`; all of it is too much
TRANSITION_WEIGHTS = tuple(step / 10 for step in range(9))  # of the counted transitions
TRANSITION_DECIMALS = (
    3  # of the transitions that a manifest keeps: what serves is then what was judged
)
TRANSITION_PSEUDOCOUNT = (
    0.5  # times that every legal step was seen before the first (Jeffreys' prior)
)


def estimate_transitions(tags: Iterable[Sequence[int]], tag_set: TagSet) -> FloatArray:
    """How much likelier each tag is after another one than anywhere: pointwise mutual information.

    Args:
        tags: Of each document's words; those marked `tagalong.ner.tags.IGNORE_INDEX` and what follows them do not
            count.
        tag_set: What they are of.

    Returns:
        Log ratios of shape (tags + 1, tags), the last row for the start of a document; 0 for steps
        that are not legal.
    """
    legal = legal_transitions(tag_set)
    start = len(tag_set)
    counts = np.where(legal, TRANSITION_PSEUDOCOUNT, 0.0)
    for of_document in tags:
        before = start
        for tag in of_document:
            if IGNORE_INDEX not in (before, tag):
                counts[before, tag] += 1
            before = tag
    following = counts / counts.sum(axis=1, keepdims=True)
    anywhere = counts.sum(axis=0) / counts.sum()
    return np.log(np.where(legal, following / anywhere, 1.0))


def fit_score_refiner(
    dev: Sequence[Document],
    tagged: Sequence[TaggedWords],
    logits: Sequence[FloatArray],
    *,
    transitions: FloatArray,
    tag_set: TagSet,
) -> tuple[ScoreRefiner, float]:
    """Choose both weights by strict F1 on dev, one after the other until each has seen the other.

    Args:
        dev: Documents to choose by.
        tagged: Their words and gold tags.
        logits: Of those words, (words, tags) each.
        transitions: As `estimate_transitions` gives them.
        tag_set: The tags.

    Returns:
        The coupling, of equally good ones the weakest; and the temperature that suits it.
    """
    gold = [
        _decode_entities([max(tag, OUTSIDE) for tag in entry.tags], tag_set) for entry in tagged
    ]
    legal = legal_transitions(tag_set)

    @cache
    def shared(share: float) -> tuple[list[FloatArray], float]:
        """What words say with that share of it shared, and at which temperature."""
        coupling = ScoreRefiner(share)
        scores = [
            coupling.smooth(document.text, entry.words, own)
            for document, entry, own in zip(dev, tagged, logits, strict=True)
        ]
        fitted = fit_temperature_on_dev(scores, [entry.tags for entry in tagged])
        return [log_softmax(one, temperature=fitted) for one in scores], fitted

    @cache
    def f1(share: float, weight: float) -> float:
        log_probs, _ = shared(share)
        found = (_decode_tags(scores, legal, weight * transitions) for scores in log_probs)
        return _strict_f1(gold, [_decode_entities(tags, tag_set) for tags in found])

    weight = TRANSITION_WEIGHTS[len(TRANSITION_WEIGHTS) // 2]
    share = max(SMOOTHING_WEIGHTS, key=lambda share: f1(share, weight))
    weight = max(TRANSITION_WEIGHTS, key=lambda weight: f1(share, weight))
    share = max(SMOOTHING_WEIGHTS, key=lambda share: f1(share, weight))
    rows = np.round(weight * transitions, TRANSITION_DECIMALS).tolist() if weight else []
    return ScoreRefiner(share, tuple(map(tuple, rows))), shared(share)[1]


def _decode_tags(log_probs: FloatArray, legal: NDArray[np.bool_], steps: FloatArray) -> list[int]:
    """The best tags of a document, which may have no words."""
    return viterbi(log_probs, legal, steps).tolist() if len(log_probs) else []


def _decode_entities(tags: Sequence[int], tag_set: TagSet) -> set[WordEntity]:
    """The entities of a document, in words."""
    return set(tag_set.entities(tags))


def _strict_f1(gold: Sequence[set[WordEntity]], found: Sequence[set[WordEntity]]) -> float:
    """F1 of exact matches over documents."""
    right = sum(len(one & other) for one, other in zip(gold, found, strict=True))
    all_of_both = sum(map(len, gold)) + sum(map(len, found))
    return 2 * right / all_of_both if all_of_both else 0.0
