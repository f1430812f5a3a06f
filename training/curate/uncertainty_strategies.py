"""Strategies by what a model is unsure of: whole documents, long entities, or another model."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from tagalong.ner.document import Document, Prediction
from tagalong.ner.scoring import score_spans
from tagalong.ner.words import count_words, overlapping_words
from tagalong.training.curate.encoder_outputs import TagDistribution
from tagalong.training.curate.pool import Pool, pick_highest
from tagalong.training.curate.selection_options import SelectedDocument

MIN_LONG_ENTITY_WORDS = 3  # the last length bucket, and the one with most errors
MIN_SURE_CONFIDENCE = 0.9  # an O tag below it may be part of an entity
DOCUMENT_OVERHEAD_WORDS = 50  # cost of opening a task, so that very short texts do not win


def sequence_uncertainty(prediction: Prediction) -> float:
    """Uncertainty of a prediction, independent of document length.

    Returns 1 - MNLP (Shen et al. 2018), from 0 to 1. MNLP is a mean over words, so long documents
    do not come first for their length.
    """
    return 1 - prediction.score


def pick_by_uncertainty(pool: Pool, count: int) -> list[SelectedDocument]:
    """Most uncertain predictions first."""
    return pick_highest(pool, [*map(sequence_uncertainty, pool.predictions)], count, "uncertain")


def margin_uncertainty(tag_distribution: TagDistribution) -> float:
    """Closeness of the two most probable tags of each word (Scheffer et al. 2001).

    Returns 1 minus the mean margin between their probabilities, from 0 to 1; 0 without words.
    """
    if not len(tag_distribution.log_probs):
        return 0.0  # the mean of nothing is NaN
    best = np.sort(np.exp(tag_distribution.log_probs), axis=1)
    return float(1 - (best[:, -1] - best[:, -2]).mean())


def pick_by_margin(pool: Pool, count: int) -> list[SelectedDocument]:
    """Smallest margins first."""
    distributions = pool.tag_distributions(pool.documents)
    return pick_highest(pool, [*map(margin_uncertainty, distributions)], count, "uncertain")


def pick_by_least_confidence(pool: Pool, count: int) -> list[SelectedDocument]:
    """Least probable tag sequence first (Culotta & McCallum 2005), in nats.

    The sum over words prefers long documents. Use it if every document costs the same.
    """
    nats = [
        # The score is a mean.
        -math.log(prediction.score) * len(prediction.word_rule.find_words(document.text))
        for document, prediction in zip(pool.documents, pool.predictions, strict=True)
    ]
    return pick_highest(pool, nats, count, "uncertain")


def long_entity_uncertainty(document: Document, prediction: Prediction) -> float:
    """Expected number of wrong long entities per 100 words of a document.

    Counts predicted and suspected entities of at least `MIN_LONG_ENTITY_WORDS` words.
    """
    words = prediction.word_rule.find_words(document.text)
    if prediction.tag_confidences:
        uncertainties = [
            1 - math.prod(prediction.tag_confidences[word] for word in run) ** (1 / len(run))
            for run in _uncertain_runs(words, prediction)
            if count_words(document.text, words[run.start][0], words[run.stop - 1][1])
            >= MIN_LONG_ENTITY_WORDS
        ]
    else:  # a tagger that decodes no tags has scores of spans only
        uncertainties = [
            1 - (span.score or 0.0)
            for span in prediction.spans
            if count_words(document.text, span.start, span.end) >= MIN_LONG_ENTITY_WORDS
        ]
    return 100 * sum(uncertainties) / (len(words) + DOCUMENT_OVERHEAD_WORDS)


def _uncertain_runs(words: Sequence[tuple[int, int]], prediction: Prediction) -> Iterator[range]:
    """Runs of words inside entities or with an uncertain O tag."""
    inside = [confidence < MIN_SURE_CONFIDENCE for confidence in prediction.tag_confidences]
    for span in prediction.spans:
        for word in range(*overlapping_words(words, span.start, span.end)):
            inside[word] = True
    first = 0
    for word, is_inside in enumerate((*inside, False)):  # False ends a run at the end of the text
        if not is_inside:
            if word > first:
                yield range(first, word)
            first = word + 1


def pick_by_long_entities(pool: Pool, count: int) -> list[SelectedDocument]:
    """Most wrong long entities first, relative to the length of the document."""
    scores = map(long_entity_uncertainty, pool.documents, pool.predictions)
    return pick_highest(pool, [*scores], count, "long entity")


def disagreement_score(document: Document, one: Prediction, other: Prediction) -> float:
    """Measure the disagreement of two models on a document.

    Returns 1 minus the mean of strict and relaxed F1 between the two predictions. A boundary
    difference is half a disagreement. 0 if neither finds an entity.
    """
    if not one.spans and not other.spans:
        return 0.0  # F1 would be 0, as if they disagreed
    scores = score_spans(document.text, one.spans, other.spans)
    return 1 - (scores.strict.total.f1 + scores.relaxed.total.f1) / 2


def keep_labels(predictions: Sequence[Prediction], labels: Sequence[str]) -> list[Prediction]:
    """Remove spans of other labels, such as those that only one of two models knows."""
    return [
        replace(entry, spans=tuple(span for span in entry.spans if span.label in labels))
        for entry in predictions
    ]


def pick_by_disagreement(pool: Pool, count: int) -> list[SelectedDocument]:
    """Highest disagreement of an encoder and an LLM, or two versions, first."""
    pairs = zip(pool.documents, pool.predictions, pool.other_predictions, strict=True)
    disagreements = [disagreement_score(*pair) for pair in pairs]
    uncertainties = [*map(sequence_uncertainty, pool.predictions)]
    order = sorted(  # on many documents the two agree: the most uncertain of these come first
        range(len(disagreements)), key=lambda index: (-disagreements[index], -uncertainties[index])
    )
    return [
        SelectedDocument(pool.documents[index], "the two disagree", disagreements[index])
        for index in order[:count]
    ]
