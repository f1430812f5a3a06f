"""The default strategy: uncertain documents and long entities, without near duplicates.

Uncertain documents come in groups: one unusual expression makes many documents uncertain, and
annotating one of them resolves all. So the expected benefit of a document is multiplied by its
distance to all annotated and selected documents.
"""

from collections.abc import Sequence

import numpy as np

from tagalong.training.curate.diversity import distances_to, nearest_distances
from tagalong.training.curate.long_entities import long_entity_uncertainty
from tagalong.training.curate.pool import Pick, Pool, SelectionStrategy
from tagalong.training.curate.selection import SelectionReason
from tagalong.training.curate.uncertainty import sequence_uncertainty
from tagalong.training.evaluation.bootstrap import Float64Array

MIXED_REASONS: tuple[SelectionReason, ...] = ("uncertain", "long entity", "unlike the rest")


def percentile_rank(values: Sequence[float] | Float64Array) -> Float64Array:
    """Share of documents with a lower value, from 0 to 1; makes different scales comparable."""
    ordered = np.sort(values)
    below = np.searchsorted(ordered, values, side="left")
    return np.asarray(below / max(1, len(ordered) - 1), dtype=np.float64)


def _pick_mixed(pool: Pool, count: int) -> list[Pick]:
    """Repeatedly select the document with the highest score.

    The score is the mean percentile rank of uncertainty and long-entity uncertainty, times the
    percentile rank of novelty, which is updated after each selection.
    """
    pairs = list(zip(pool.documents, pool.predictions, strict=True))
    uncertainties = percentile_rank([sequence_uncertainty(prediction) for _, prediction in pairs])
    long_entity_ranks = percentile_rank([long_entity_uncertainty(*pair) for pair in pairs])
    distances = nearest_distances(pool.document_vectors, pool.labeled_vectors)
    picks: list[Pick] = []
    for _ in range(min(count, len(pairs))):
        # Without annotated documents, every document is new.
        novelty = (
            np.ones(len(distances)) if np.isinf(distances).any() else percentile_rank(distances)
        )
        scores = (uncertainties + long_entity_ranks) / 2 * novelty
        scores[[pick.index for pick in picks]] = -1.0
        index = int(scores.argmax())
        reason = MIXED_REASONS[
            int(np.argmax([uncertainties[index], long_entity_ranks[index], novelty[index]]))
        ]
        picks.append(Pick(index, reason, float(scores[index])))
        np.minimum(
            distances,
            distances_to(pool.document_vectors, pool.document_vectors[index]),
            out=distances,
        )
    return picks


MIXED = SelectionStrategy(_pick_mixed, required_inputs=frozenset({"document_vectors"}))
