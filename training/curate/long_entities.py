"""Documents with entities of three words and more: those that models get wrong most often."""

import math
from collections.abc import Iterator, Sequence

from tagalong.ner.document import Document, Prediction
from tagalong.ner.words import overlapping_words, word_offsets
from tagalong.training.curate.pool import Pick, Pool, SelectionStrategy, pick_highest

MIN_LONG_ENTITY_WORDS = 3  # words, from where the length buckets end
MIN_SURE_CONFIDENCE = 0.9  # an O that is less sure than this may be part of an entity
DOCUMENT_OVERHEAD_WORDS = (
    50  # words that could be read while a task is opened: titles must not win by shortness
)


def long_entity_uncertainty(document: Document, prediction: Prediction) -> float:
    """How much a model is to learn of long entities from a document, for what it costs.

    Args:
        document: Its text.
        prediction: What the model says.

    Returns:
        How many long entities are expected to be wrong among those predicted or suspected, for
        every 100 words to be read; at least 0.
    """
    words = word_offsets(document.text)
    if prediction.tag_confidences:
        doubts = [
            1 - math.prod(prediction.tag_confidences[word] for word in run) ** (1 / len(run))
            for run in _uncertain_runs(words, prediction)
        ]
    else:
        doubts = [
            1 - (span.score or 0.0)
            for span in prediction.spans
            if len(range(*overlapping_words(words, span.start, span.end))) >= MIN_LONG_ENTITY_WORDS
        ]
    return 100 * sum(doubts) / (len(words) + DOCUMENT_OVERHEAD_WORDS)


def _uncertain_runs(words: Sequence[tuple[int, int]], prediction: Prediction) -> Iterator[range]:
    """Runs of so many words that are in an entity, or are not surely outside of all."""
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
    """The most open questions first."""
    pairs = zip(pool.documents, pool.predictions, strict=True)
    return pick_highest([long_entity_uncertainty(*pair) for pair in pairs], count, "long entity")


LONG_ENTITIES = SelectionStrategy(_pick_by_long_entity_uncertainty)
