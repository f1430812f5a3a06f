"""Label consistency of an encoder: transitions counted on train, weights fitted on dev."""

from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np

from tagalong.backend.models.decoding.predictions import ScoreRefiner, log_softmax
from tagalong.backend.models.decoding.viterbi import FloatArray, legal_transitions, viterbi
from tagalong.ner.document import Document
from tagalong.ner.tags import IGNORE_INDEX, OUTSIDE, TaggedWords, TagSet
from tagalong.training.loop.validation import fit_temperature_on_dev

WordEntity = tuple[int, int, str]  # first word, one past the last, label
# Values of `ScoreRefiner.consistency_weight`; 1 would give all occurrences of a word one score.
SMOOTHING_WEIGHTS = tuple(step / 10 for step in range(8))
TRANSITION_WEIGHTS = tuple(step / 10 for step in range(9))
TRANSITION_DECIMALS = 3  # as in the manifest, so that the served tagger equals the evaluated one
TRANSITION_PSEUDOCOUNT = 0.5  # added to the count of each legal transition (Jeffreys' prior)


def estimate_transitions(tags: Iterable[Sequence[int]], tag_set: TagSet) -> FloatArray:
    """Pointwise mutual information of neighbouring tags.

    Words marked `tagalong.ner.tags.IGNORE_INDEX` and the words after them are not counted.

    Returns log ratios of shape (tags + 1, tags), the last row for the start of a document; 0 for
    illegal transitions.
    """
    legal = legal_transitions(tag_set)
    start = len(tag_set)
    counts = np.where(legal, TRANSITION_PSEUDOCOUNT, 0.0)
    for document_tags in tags:
        before = start
        for tag in document_tags:
            if IGNORE_INDEX not in (before, tag):
                counts[before, tag] += 1
            before = tag
    conditional = counts / counts.sum(axis=1, keepdims=True)
    marginal = counts.sum(axis=0) / counts.sum()
    return np.log(np.where(legal, conditional / marginal, 1.0))


def fit_score_refiner(
    dev: Sequence[Document],
    tagged: Sequence[TaggedWords],
    logits: Sequence[FloatArray],
    *,
    transitions: FloatArray,
    tag_set: TagSet,
) -> tuple[ScoreRefiner, float]:
    """Choose both weights by strict F1 on dev, by coordinate ascent.

    `tagged` has the words and gold tags of each document, `logits` arrays of shape (words, tags);
    `transitions` is from `estimate_transitions`.

    Returns the refiner with the lowest of equally good weights, and its temperature.
    """
    gold = [set(tag_set.entities([max(tag, OUTSIDE) for tag in entry.tags])) for entry in tagged]
    legal = legal_transitions(tag_set)

    @cache  # every smoothing weight is asked for again with each transition weight
    def smoothed(smoothing: float) -> tuple[list[FloatArray], float]:
        """Log probabilities at a smoothing weight, and their temperature."""
        refiner = ScoreRefiner(smoothing)
        scores = [
            refiner.smooth(document.text, entry.words, own)
            for document, entry, own in zip(dev, tagged, logits, strict=True)
        ]
        temperature = fit_temperature_on_dev(scores, [entry.tags for entry in tagged])
        return [log_softmax(one, temperature=temperature) for one in scores], temperature

    @cache
    def f1(smoothing: float, weight: float) -> float:
        log_probs, _ = smoothed(smoothing)
        steps = weight * transitions
        tags = (viterbi(one, legal, steps).tolist() if len(one) else [] for one in log_probs)
        return _strict_f1(gold, [set(tag_set.entities(one)) for one in tags])

    weight = TRANSITION_WEIGHTS[len(TRANSITION_WEIGHTS) // 2]
    smoothing = max(SMOOTHING_WEIGHTS, key=lambda smoothing: f1(smoothing, weight))
    weight = max(TRANSITION_WEIGHTS, key=lambda weight: f1(smoothing, weight))
    smoothing = max(SMOOTHING_WEIGHTS, key=lambda smoothing: f1(smoothing, weight))
    rows = np.round(weight * transitions, TRANSITION_DECIMALS).tolist() if weight else []
    return ScoreRefiner(smoothing, tuple(map(tuple, rows))), smoothed(smoothing)[1]


def _strict_f1(gold: Sequence[set[WordEntity]], predicted: Sequence[set[WordEntity]]) -> float:
    matches = sum(len(one & other) for one, other in zip(gold, predicted, strict=True))
    total = sum(map(len, gold)) + sum(map(len, predicted))
    return 2 * matches / total if total else 0.0
