"""Documents with entities of three words and more: those that models get wrong most often."""

import math
from collections.abc import Iterator, Sequence

from ner.document import Document, Prediction
from ner.words import word_offsets, words_touched
from training.curate.pool import Pick, Pool, Strategy, highest

LONG = 3  # words, from where the length buckets end
SUSPICIOUS = 0.9  # an O that is less sure than this may be part of an entity
OPENING = 50  # words that could be read while a task is opened: titles must not win by shortness


def open_questions(document: Document, prediction: Prediction) -> float:
    """How much a model is to learn of long entities from a document, for what it costs.

    Args:
        document: Its text.
        prediction: What the model says.

    Returns:
        How many long entities are expected to be wrong among those predicted or suspected, for
        every 100 words to be read; at least 0.
    """
    words = word_offsets(document.text)
    if prediction.confidences:
        doubts = [
            1 - math.prod(prediction.confidences[word] for word in run) ** (1 / len(run))
            for run in _suspects(words, prediction)
        ]
    else:
        doubts = [
            1 - (span.score or 0.0)
            for span in prediction.spans
            if len(range(*words_touched(words, span.start, span.end))) >= LONG
        ]
    return 100 * sum(doubts) / (len(words) + OPENING)


def _suspects(words: Sequence[tuple[int, int]], prediction: Prediction) -> Iterator[range]:
    """Runs of so many words that are in an entity, or are not surely outside of all."""
    inside = [confidence < SUSPICIOUS for confidence in prediction.confidences]
    for span in prediction.spans:
        for word in range(*words_touched(words, span.start, span.end)):
            inside[word] = True
    first = 0
    for word, is_inside in enumerate((*inside, False)):
        if not is_inside:
            if word - first >= LONG:
                yield range(first, word)
            first = word + 1


def _by_questions(pool: Pool, count: int) -> list[Pick]:
    """The most open questions first."""
    pairs = zip(pool.documents, pool.predictions, strict=True)
    return highest([open_questions(*pair) for pair in pairs], count, "long entity")


LONG_ENTITIES = Strategy(_by_questions)
