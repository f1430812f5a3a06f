"""Word tags and a model's probabilities of them -> how well each tag fits: the seam to cleanlab."""

from collections.abc import Sequence

import numpy as np
from cleanlab.count import get_confident_thresholds  # type: ignore[import-untyped]
from cleanlab.token_classification.rank import (  # type: ignore[import-untyped]
    get_label_quality_scores,
)
from numpy.typing import NDArray

from tagalong.ner.tags import IGNORE_INDEX, TaggedWords
from tagalong.training.curate.tag_distributions import TagDistribution

MIN_QUALITY = (
    0.02  # of a probability: models of few documents are wrong oftener than lower ones say
)


def rate_word_labels(
    tagged: Sequence[TaggedWords], tag_distributions: Sequence[TagDistribution]
) -> list[NDArray[np.float64]]:
    """Rate the tag of every word by what a model expects.

    A word's quality is the probability of its tag (the self-confidence of cleanlab), over the mean
    of that among all words with the tag (the thresholds of Northcutt et al. 2021, "Confident
    Learning"): what a model is never sure of says little.

    Args:
        tagged: Words and tags of documents, one known tag at least among them.
        tag_distributions: What a model says of each.

    Returns:
        The logarithm of every word's quality, shape (words,) for each document: 0 where the tag
        fits as well as such tags do, NaN where the truth is unknown.
    """
    tags = [np.array(entry.tags, dtype=np.intp) for entry in tagged]
    known = [of_document != IGNORE_INDEX for of_document in tags]
    places = [index for index, of_document in enumerate(known) if of_document.any()]
    given = [tags[index][known[index]] for index in places]
    expected = [np.exp(tag_distributions[index].log_probs[known[index]]) for index in places]
    thresholds = get_confident_thresholds(np.concatenate(given), np.concatenate(expected))
    _, qualities = get_label_quality_scores([*map(list, given)], expected)
    ratings: list[NDArray[np.float64]] = [np.full(len(of_document), np.nan) for of_document in tags]
    for index, of_document, quality in zip(places, given, qualities, strict=True):
        fits = np.maximum(quality.to_numpy(), MIN_QUALITY) / thresholds[of_document]
        ratings[index][known[index]] = np.log(fits)
    return ratings
