"""Quality of word tags under a model's probabilities: the interface to cleanlab."""

from collections.abc import Sequence

import numpy as np
from cleanlab.count import get_confident_thresholds  # type: ignore[import-untyped]
from cleanlab.token_classification.rank import (  # type: ignore[import-untyped]
    get_label_quality_scores,
)
from numpy.typing import NDArray

from tagalong.ner.tags import IGNORE_INDEX, TaggedWords
from tagalong.training.curate.tag_distributions import TagDistribution

MIN_QUALITY = 0.02  # models trained on few documents are overconfident


def rate_word_labels(
    tagged: Sequence[TaggedWords], tag_distributions: Sequence[TagDistribution]
) -> list[NDArray[np.float64]]:
    """Rate the tag of each word by the model's probabilities.

    The quality of a tag is its probability (self-confidence in cleanlab), divided by the mean
    self-confidence of all words with that tag (the threshold of Northcutt et al. 2021, "Confident
    Learning"). The division accounts for tags of which the model is never confident.

    Args:
        tagged: Words and tags of documents; at least one tag is known.
        tag_distributions: Probabilities of the same documents.

    Returns:
        Log quality of each word, shape (words,) per document: 0 for average quality of the tag, NaN
        if the truth is unknown.
    """
    tags = [np.array(entry.tags, dtype=np.intp) for entry in tagged]
    known = [document_tags != IGNORE_INDEX for document_tags in tags]
    indices = [index for index, document_tags in enumerate(known) if document_tags.any()]
    given = [tags[index][known[index]] for index in indices]
    expected = [np.exp(tag_distributions[index].log_probs[known[index]]) for index in indices]
    thresholds = get_confident_thresholds(np.concatenate(given), np.concatenate(expected))
    _, qualities = get_label_quality_scores([*map(list, given)], expected)
    ratings: list[NDArray[np.float64]] = [
        np.full(len(document_tags), np.nan) for document_tags in tags
    ]
    for index, document_tags, quality in zip(indices, given, qualities, strict=True):
        quality_ratio = np.maximum(quality.to_numpy(), MIN_QUALITY) / thresholds[document_tags]
        ratings[index][known[index]] = np.log(quality_ratio)
    return ratings
