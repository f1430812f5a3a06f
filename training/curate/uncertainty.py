"""Documents whose words the model is unsure of."""

import math

import numpy as np

from ner.document import Prediction
from ner.words import word_offsets
from training.curate.opinions import Opinion
from training.curate.pool import Pick, Pool, Strategy, highest


def doubt(prediction: Prediction) -> float:
    """How unsure a model is of a document, whatever its length.

    Args:
        prediction: What it says.

    Returns:
        1 - MNLP (Shen et al. 2018), from 0 to 1: a mean over words, so that long documents, which
        take longer to annotate, do not come first for their length.
    """
    return 1 - prediction.score


def narrowness(opinion: Opinion) -> float:
    """How close the second best tag of each word is to the best (Scheffer et al. 2001).

    Args:
        opinion: Of a document.

    Returns:
        1 less the mean margin between their probabilities, from 0 to 1; 0 without words.
    """
    if not len(opinion.log_probs):
        return 0.0
    best = np.sort(np.exp(opinion.log_probs), axis=1)
    return float(1 - (best[:, -1] - best[:, -2]).mean())


def _by_doubt(pool: Pool, count: int) -> list[Pick]:
    """The lowest MNLP first."""
    return highest([doubt(prediction) for prediction in pool.predictions], count, "uncertain")


def _by_margin(pool: Pool, count: int) -> list[Pick]:
    """The narrowest margins first."""
    return highest([narrowness(opinion) for opinion in pool.opinions], count, "uncertain")


def _by_confidence(pool: Pool, count: int) -> list[Pick]:
    """The least probable sequence of tags first (Culotta & McCallum 2005), in nats.

    A sum over words, so that long documents come first: what to take where each costs the same.
    """
    nats = [
        -math.log(prediction.score) * len(word_offsets(document.text))
        for document, prediction in zip(pool.documents, pool.predictions, strict=True)
    ]
    return highest(nats, count, "uncertain")


UNCERTAINTY = Strategy(_by_doubt)
MARGIN = Strategy(_by_margin, needs=frozenset({"opinions"}))
LEAST_CONFIDENCE = Strategy(_by_confidence)
