"""Documents whose words the model is unsure of."""

import math

import numpy as np

from tagalong.ner.document import Prediction
from tagalong.ner.words import word_offsets
from tagalong.training.curate.pool import Pick, Pool, SelectionStrategy, pick_highest
from tagalong.training.curate.tag_distributions import TagDistribution


def sequence_uncertainty(prediction: Prediction) -> float:
    """How unsure a model is of a document, whatever its length.

    Args:
        prediction: What it says.

    Returns:
        1 - MNLP (Shen et al. 2018), from 0 to 1: a mean over words, so that long documents, which
        take longer to annotate, do not come first for their length.
    """
    return 1 - prediction.score


def margin_uncertainty(tag_distribution: TagDistribution) -> float:
    """How close the second best tag of each word is to the best (Scheffer et al. 2001).

    Args:
        tag_distribution: Of a document.

    Returns:
        1 less the mean margin between their probabilities, from 0 to 1; 0 without words.
    """
    if not len(tag_distribution.log_probs):
        return 0.0
    best = np.sort(np.exp(tag_distribution.log_probs), axis=1)
    return float(1 - (best[:, -1] - best[:, -2]).mean())


def _pick_by_uncertainty(pool: Pool, count: int) -> list[Pick]:
    """The lowest MNLP first."""
    return pick_highest(
        [sequence_uncertainty(prediction) for prediction in pool.predictions], count, "uncertain"
    )


def _pick_by_margin(pool: Pool, count: int) -> list[Pick]:
    """The narrowest margins first."""
    return pick_highest(
        [margin_uncertainty(opinion) for opinion in pool.tag_distributions], count, "uncertain"
    )


def _pick_by_least_confidence(pool: Pool, count: int) -> list[Pick]:
    """The least probable sequence of tags first (Culotta & McCallum 2005), in nats.

    A sum over words, so that long documents come first: what to take where each costs the same.
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
