"""Documents that are not all alike: one for each group, or ever the one farthest from the others.

Both look at vectors alone. K-means finds what is frequent, k-center also what is odd.
"""

import numpy as np
from sklearn.cluster import KMeans  # type: ignore[import-untyped]
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from tagalong.training.curate.pool import Float64Array, Pick, Pool, SelectionStrategy

KMEANS_INITIALIZATIONS = 3  # of which k-means keeps the best: a bad one leaves two groups in one


def distances_to(vectors: Float64Array, to: Float64Array) -> Float64Array:
    """How far each of some vectors is from one.

    Args:
        vectors: Shape (documents, width).
        to: Shape (width,).

    Returns:
        Euclidean, shape (documents,); exactly 0 for the same vector.
    """
    return np.asarray(np.linalg.norm(vectors - to, axis=1), dtype=np.float64)


def nearest_distances(vectors: Float64Array, known: Float64Array) -> Float64Array:
    """How far each of some vectors is from the nearest of others.

    Args:
        vectors: Shape (documents, width).
        known: Shape (annotated, width).

    Returns:
        Shape (documents,); infinite where there are no others.
    """
    found = np.full(len(vectors), np.inf)
    for one in known:
        np.minimum(found, distances_to(vectors, one), out=found)
    return found


def _pick_k_center(pool: Pool, count: int) -> list[Pick]:
    """Greedy k-center (Gonzalez 1985; for active learning Sener & Savarese 2018).

    Each time the document farthest from all that is annotated or taken; where nothing is, the most
    typical one begins. Its score is that distance, which never grows: the radius around what was
    known before.
    """
    left = nearest_distances(pool.document_vectors, pool.labeled_vectors)
    picks: list[Pick] = []
    for _ in range(min(count, len(left))):
        if np.isinf(left).all():
            place = int(
                distances_to(pool.document_vectors, pool.document_vectors.mean(axis=0)).argmin()
            )
            radius = float(distances_to(pool.document_vectors, pool.document_vectors[place]).max())
        else:
            place = int(left.argmax())
            radius = float(left[place])
        picks.append(Pick(place, "unlike the rest", radius))
        np.minimum(
            left, distances_to(pool.document_vectors, pool.document_vectors[place]), out=left
        )
        left[place] = -1.0  # never again, even where nothing but its likes is left
    return picks


def _pick_k_means(pool: Pool, count: int) -> list[Pick]:
    """The document nearest to the centre of each of as many groups, the largest group first.

    Its score is the share of the pool that is in its group.
    """
    kinds = len(np.unique(pool.document_vectors, axis=0))  # there cannot be more groups than that
    # With several threads the last bits of a sum depend on which was first.
    with threadpool_limits(1):
        model = KMeans(min(count, kinds), n_init=KMEANS_INITIALIZATIONS, random_state=pool.seed)
        groups = model.fit(pool.document_vectors).labels_
    away = np.linalg.norm(pool.document_vectors - model.cluster_centers_[groups], axis=1)
    sizes = np.bincount(groups)
    order = np.lexsort((away, groups))
    turns = np.empty(len(order), dtype=np.intp)  # 0 for the nearest of its group, then 1, 2 ...
    turns[order] = np.concatenate([np.arange(size) for size in sizes[sizes > 0]])
    # Second and third ones only where there are fewer groups than were asked for.
    best = np.lexsort((away, -sizes[groups], turns))[:count]
    return [
        Pick(int(place), "typical of many", float(sizes[groups[place]] / len(groups)))
        for place in best
    ]


K_CENTER = SelectionStrategy(_pick_k_center, required_inputs=frozenset({"document_vectors"}))
K_MEANS = SelectionStrategy(_pick_k_means, required_inputs=frozenset({"document_vectors"}))
