"""Strategies by document vectors: cluster centers, or the farthest first.

K-means prefers frequent kinds of documents; k-center also selects outliers.
"""

import numpy as np
from sklearn.cluster import KMeans  # type: ignore[import-untyped]
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from tagalong.training.curate.pool import Pool
from tagalong.training.curate.selection_options import SelectedDocument
from tagalong.training.evaluation.bootstrap import Float64Array

KMEANS_INITIALIZATIONS = 3  # k-means keeps the best one


def distances_to(vectors: Float64Array, to: Float64Array) -> Float64Array:
    """Euclidean distances of vectors (documents, width) to one vector (width,)."""
    return np.asarray(np.linalg.norm(vectors - to, axis=1), dtype=np.float64)


def nearest_distances(vectors: Float64Array, known: Float64Array) -> Float64Array:
    """Distance of each vector to the nearest known one; infinite if none is known."""
    nearest = np.full(len(vectors), np.inf)
    for vector in known:  # all at once would need (documents, known, width) numbers
        np.minimum(nearest, distances_to(vectors, vector), out=nearest)
    return nearest


def pick_by_k_center(pool: Pool, count: int) -> list[SelectedDocument]:
    """Greedy k-center (Gonzalez 1985; for active learning Sener & Savarese 2018).

    Repeatedly selects the document farthest from all annotated and selected ones, and starts with
    the most central one if nothing is annotated. The score is that distance, which never increases.
    """
    vectors = pool.embed(pool.documents)
    distances = nearest_distances(vectors, pool.embed(pool.labeled))
    selected: list[SelectedDocument] = []
    for _ in range(min(count, len(distances))):
        if np.isinf(distances).all():
            index = int(distances_to(vectors, vectors.mean(axis=0)).argmin())
            radius = float(distances_to(vectors, vectors[index]).max())
        else:
            index = int(distances.argmax())
            radius = float(distances[index])
        selected.append(SelectedDocument(pool.documents[index], "unlike the rest", radius))
        np.minimum(distances, distances_to(vectors, vectors[index]), out=distances)
        distances[index] = -1.0  # never selected again, even if only equal vectors remain
    return selected


def pick_by_k_means(pool: Pool, count: int) -> list[SelectedDocument]:
    """The document nearest to the center of each cluster, largest cluster first.

    The score is the cluster's share of the pool.
    """
    vectors = pool.embed(pool.documents)
    n_distinct = len(np.unique(vectors, axis=0))  # the maximum number of clusters
    # With several threads, the last bits of a sum depend on their order.
    with threadpool_limits(1):
        model = KMeans(
            min(count, n_distinct), n_init=KMEANS_INITIALIZATIONS, random_state=pool.seed
        )
        clusters = model.fit(vectors).labels_
    center_distances = np.linalg.norm(vectors - model.cluster_centers_[clusters], axis=1)
    sizes = np.bincount(clusters)
    order = np.lexsort((center_distances, clusters))  # the last key is the first to sort by
    rank_in_cluster = np.empty(len(order), dtype=np.intp)  # 0 for the nearest to the center
    rank_in_cluster[order] = np.concatenate([np.arange(size) for size in sizes[sizes > 0]])
    # Ranks above 0 are used only if there are fewer clusters than requested documents.
    best = np.lexsort((center_distances, -sizes[clusters], rank_in_cluster))[:count]
    shares = (sizes / len(clusters))[clusters].tolist()
    return [SelectedDocument(pool.documents[i], "typical of many", shares[i]) for i in best]
