"""The default: documents that are uncertain or have long entities, and are not like the others.

What a model is unsure of comes in groups: one odd expression makes twenty documents uncertain, and
the first of them answers for all. So each document counts by how much there is to learn from it,
times how far it is from everything that is annotated or has just been taken.
"""

from collections.abc import Sequence

import numpy as np

from tagalong.training.curate.diversity import distances_to, nearest_distances
from tagalong.training.curate.long_entities import long_entity_uncertainty
from tagalong.training.curate.pool import Float64Array, Pick, Pool, SelectionStrategy
from tagalong.training.curate.selection import SelectionReason
from tagalong.training.curate.uncertainty import sequence_uncertainty

MIXED_REASONS: tuple[SelectionReason, ...] = ("uncertain", "long entity", "unlike the rest")


def percentile_rank(values: Sequence[float] | Float64Array) -> Float64Array:
    """Make values comparable that have other scales.

    Args:
        values: Of each document, at least one.

    Returns:
        The share of the documents that have a lower value, from 0 to 1; equal ones have equal ones.
    """
    ordered = np.sort(values)
    below = np.searchsorted(ordered, values, side="left")
    return np.asarray(below / max(1, len(ordered) - 1), dtype=np.float64)


def _pick_mixed(pool: Pool, count: int) -> list[Pick]:
    """Each time the document with the highest product of the two.

    The score is that product. What is to learn is the mean of two standings in the pool, that of
    the doubt and that of long entities; novelty is a standing too, taken anew each time.
    """
    pairs = list(zip(pool.documents, pool.predictions, strict=True))
    doubts = percentile_rank([sequence_uncertainty(prediction) for _, prediction in pairs])
    long = percentile_rank([long_entity_uncertainty(*pair) for pair in pairs])
    left = nearest_distances(pool.document_vectors, pool.labeled_vectors)
    picks: list[Pick] = []
    for _ in range(min(count, len(pairs))):
        # Where nothing is known yet, everything is new.
        new = np.ones(len(left)) if np.isinf(left).any() else percentile_rank(left)
        worth = (doubts + long) / 2 * new
        worth[[pick.index for pick in picks]] = -1.0
        place = int(worth.argmax())
        reason = MIXED_REASONS[int(np.argmax([doubts[place], long[place], new[place]]))]
        picks.append(Pick(place, reason, float(worth[place])))
        np.minimum(
            left, distances_to(pool.document_vectors, pool.document_vectors[place]), out=left
        )
    return picks


MIXED = SelectionStrategy(_pick_mixed, required_inputs=frozenset({"document_vectors"}))
