"""Select documents with uncertain predictions."""

import math

import numpy as np

from tagalong.ner.document import Prediction
from tagalong.ner.words import word_offsets
from tagalong.training.curate.pool import Pick, Pool, SelectionStrategy, pick_highest
from tagalong.training.curate.tag_distributions import TagDistribution


def sequence_uncertainty(prediction: Prediction) -> float:
    """Uncertainty of a prediction, independent of document length.

    Returns 1 - MNLP (Shen et al. 2018), from 0 to 1. MNLP is a mean over words, so long documents
    do not come first for their length.
    """
    return 1 - prediction.score


def margin_uncertainty(tag_distribution: TagDistribution) -> float:
    """Closeness of the two most probable tags of each word (Scheffer et al. 2001).

    Returns 1 minus the mean margin between their probabilities, from 0 to 1; 0 without words.
    """
    if not len(tag_distribution.log_probs):
        return 0.0
    best = np.sort(np.exp(tag_distribution.log_probs), axis=1)
    return float(1 - (best[:, -1] - best[:, -2]).mean())


def _pick_by_uncertainty(pool: Pool, count: int) -> list[Pick]:
    return pick_highest(
        [sequence_uncertainty(prediction) for prediction in pool.predictions], count, "uncertain"
    )


def _pick_by_margin(pool: Pool, count: int) -> list[Pick]:
    return pick_highest(
        [margin_uncertainty(distribution) for distribution in pool.tag_distributions],
        count,
        "uncertain",
    )


def _pick_by_least_confidence(pool: Pool, count: int) -> list[Pick]:
    """Least probable tag sequence first (Culotta & McCallum 2005), in nats.

    The sum over words prefers long documents. Use it if every document costs the same.
    """
    nats = [
        -math.log(prediction.score) * len(word_offsets(document.text))
        for document, prediction in zip(pool.documents, pool.predictions, strict=True)
    ]
    return pick_highest(nats, count, "uncertain")


UNCERTAINTY_STRATEGY = SelectionStrategy(_pick_by_uncertainty)
MARGIN_STRATEGY = SelectionStrategy(
    _pick_by_margin, required_inputs=frozenset({"tag_distributions"})
)
LEAST_CONFIDENCE_STRATEGY = SelectionStrategy(_pick_by_least_confidence)
