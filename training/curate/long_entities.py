"""Select documents with uncertain entities of three words or more, the most frequent errors."""

import math
from collections.abc import Iterator, Sequence

from tagalong.ner.document import Document, Prediction
from tagalong.ner.words import overlapping_words, word_offsets
from tagalong.training.curate.pool import Pick, Pool, SelectionStrategy, pick_highest

MIN_LONG_ENTITY_WORDS = 3  # the last length bucket
MIN_SURE_CONFIDENCE = 0.9  # an O tag below it may be part of an entity
DOCUMENT_OVERHEAD_WORDS = 50  # cost of opening a task, so that very short texts do not win


def long_entity_uncertainty(document: Document, prediction: Prediction) -> float:
    """Expected number of wrong long entities per 100 words of a document.

    Counts predicted and suspected entities of at least `MIN_LONG_ENTITY_WORDS` words.
    """
    words = word_offsets(document.text)
    if prediction.tag_confidences:
        uncertainties = [
            1 - math.prod(prediction.tag_confidences[word] for word in run) ** (1 / len(run))
            for run in _uncertain_runs(words, prediction)
        ]
    else:
        uncertainties = [
            1 - (span.score or 0.0)
            for span in prediction.spans
            if len(range(*overlapping_words(words, span.start, span.end))) >= MIN_LONG_ENTITY_WORDS
        ]
    return 100 * sum(uncertainties) / (len(words) + DOCUMENT_OVERHEAD_WORDS)


def _uncertain_runs(words: Sequence[tuple[int, int]], prediction: Prediction) -> Iterator[range]:
    """Long runs of words inside entities or with an uncertain O tag."""
    inside = [confidence < MIN_SURE_CONFIDENCE for confidence in prediction.tag_confidences]
    for span in prediction.spans:
        for word in range(*overlapping_words(words, span.start, span.end)):
            inside[word] = True
    first = 0
    for word, is_inside in enumerate((*inside, False)):
        if not is_inside:
            if word - first >= MIN_LONG_ENTITY_WORDS:
                yield range(first, word)
            first = word + 1


def _pick_by_long_entity_uncertainty(pool: Pool, count: int) -> list[Pick]:
    pairs = zip(pool.documents, pool.predictions, strict=True)
    return pick_highest([long_entity_uncertainty(*pair) for pair in pairs], count, "long entity")


LONG_ENTITIES = SelectionStrategy(_pick_by_long_entity_uncertainty)
