"""The default: documents that are uncertain or have long entities, and are not like the others.

What a model is unsure of comes in groups: one odd expression makes twenty documents uncertain, and
the first of them answers for all. So each document counts by how much there is to learn from it,
times how far it is from everything that is annotated or has just been taken.
"""

from collections.abc import Sequence

import numpy as np

from training.curate.choices import Reason
from training.curate.diversity import distances, nearest
from training.curate.long_entities import open_questions
from training.curate.pool import Floats, Pick, Pool, Strategy
from training.curate.uncertainty import doubt

REASONS: tuple[Reason, ...] = ("uncertain", "long entity", "unlike the rest")


def standing(values: Sequence[float] | Floats) -> Floats:
    """Make values comparable that have other scales.

    Args:
        values: Of each document, at least one.

    Returns:
        The share of the documents that have a lower value, from 0 to 1; equal ones have equal ones.
    """
    ordered = np.sort(values)
    below = np.searchsorted(ordered, values, side="left")
    return np.asarray(below / max(1, len(ordered) - 1), dtype=np.float64)


def _by_turns(pool: Pool, count: int) -> list[Pick]:
    """Each time the document with the highest product of the two.

    The score is that product. What is to learn is the mean of two standings in the pool, that of
    the doubt and that of long entities; novelty is a standing too, taken anew each time.
    """
    pairs = list(zip(pool.documents, pool.predictions, strict=True))
    doubts = standing([doubt(prediction) for _, prediction in pairs])
    long = standing([open_questions(*pair) for pair in pairs])
    left = nearest(pool.vectors, pool.known)
    picks: list[Pick] = []
    for _ in range(min(count, len(pairs))):
        # Where nothing is known yet, everything is new.
        new = np.ones(len(left)) if np.isinf(left).any() else standing(left)
        worth = (doubts + long) / 2 * new
        worth[[pick.place for pick in picks]] = -1.0
        place = int(worth.argmax())
        reason = REASONS[int(np.argmax([doubts[place], long[place], new[place]]))]
        picks.append(Pick(place, reason, float(worth[place])))
        np.minimum(left, distances(pool.vectors, pool.vectors[place]), out=left)
    return picks


MIXED = Strategy(_by_turns, needs=frozenset({"vectors"}))
