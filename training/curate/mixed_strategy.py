"""The default strategy: uncertain documents and long entities, without near duplicates.

Uncertain documents come in groups: one unusual expression makes many documents uncertain, and
annotating one of them resolves all. So the expected benefit of a document is multiplied by its
distance to all annotated and selected documents.
"""

from collections.abc import Sequence

import numpy as np

from tagalong.training.curate.diversity_strategies import distances_to, nearest_distances
from tagalong.training.curate.pool import Pool
from tagalong.training.curate.selection_options import SelectedDocument, SelectionReason
from tagalong.training.curate.uncertainty_strategies import (
    long_entity_uncertainty,
    sequence_uncertainty,
)
from tagalong.training.evaluation.bootstrap import Float64Array

MIXED_REASONS: tuple[SelectionReason, ...] = ("uncertain", "long entity", "unlike the rest")


def percentile_rank(values: Sequence[float] | Float64Array) -> Float64Array:
    """Share of documents with a lower value, from 0 to 1; makes different scales comparable."""
    ordered = np.sort(values)
    below = np.searchsorted(ordered, values, side="left")
    return np.asarray(below / max(1, len(ordered) - 1), dtype=np.float64)


def pick_mixed(pool: Pool, count: int) -> list[SelectedDocument]:
    """Repeatedly select the document with the highest score.

    The score is the mean percentile rank of uncertainty and long-entity uncertainty, times the
    percentile rank of novelty, which is updated after each selection.
    """
    uncertainties = percentile_rank([*map(sequence_uncertainty, pool.predictions)])
    long_entity_ranks = percentile_rank(
        [*map(long_entity_uncertainty, pool.documents, pool.predictions)]
    )
    vectors = pool.embed(pool.documents)
    distances = nearest_distances(vectors, pool.embed(pool.labeled))
    selected: list[SelectedDocument] = []
    is_selected = np.zeros(len(vectors), dtype=bool)
    for _ in range(min(count, len(vectors))):
        # Without annotated documents, every document is new.
        is_first = np.isinf(distances).any()
        novelty = np.ones(len(distances)) if is_first else percentile_rank(distances)
        scores = (uncertainties + long_entity_ranks) / 2 * novelty
        scores[is_selected] = -1.0
        index = int(scores.argmax())
        parts = [uncertainties[index], long_entity_ranks[index], novelty[index]]
        reason, score = MIXED_REASONS[int(np.argmax(parts))], float(scores[index])
        selected.append(SelectedDocument(pool.documents[index], reason, score))
        is_selected[index] = True
        np.minimum(distances, distances_to(vectors, vectors[index]), out=distances)
    return selected
