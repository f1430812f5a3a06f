"""How far a score would move with other documents: the percentile bootstrap over documents.

Documents are drawn with replacement (spans of one document are not independent, documents are).
Counts are taken once per document; a resample is a row of weights, how often each document was
drawn, and the counts of all resamples are one matrix product. Intervals: Efron & Tibshirani 1993,
"An Introduction to the Bootstrap", chapter 13. Paired comparison: the same resamples for both
systems (Koehn 2004), tested as Berg-Kirkpatrick, Burkett & Klein 2012 do. A resample that drew no
span of a label or a length has no F1 there (NaN), and says nothing about it.
"""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagalong.ner.scoring import Counts

COUNT_FIELDS = ("tp", "tp_predicted", "fp", "fn")  # the last axis of every array of counts
INTERVAL_QUANTILES = (0.025, 0.975)  # a 95 % interval
DEFAULT_RESAMPLES = 1000  # the usual number for intervals; p is then known to about 0.01
MAX_DRAWS_PER_BLOCK = 2_000_000  # weights held at once, which bounds memory at 16 MB for any corpus

Float64Array = NDArray[np.float64]


def counts_to_row(counts: Counts) -> tuple[int, int, int, int]:
    """Counts in the order of `COUNT_FIELDS`."""
    return counts.tp, counts.tp_predicted, counts.fp, counts.fn


def resample_counts(
    counts: NDArray[Any], *, resamples: int = DEFAULT_RESAMPLES, seed: int = 0
) -> Float64Array:
    """Draw corpora of as many documents, with replacement, and count each.

    Args:
        counts: Counts per document, shape (documents, ...).
        resamples: How many corpora to draw.
        seed: Equal seeds draw equal corpora, so scores of two systems can be paired.

    Returns:
        Counts per drawn corpus, shape (resamples, ...); all 0 where there are no documents.
    """
    documents = len(counts)
    cells = prod(counts.shape[1:])
    flat = counts.reshape(documents, cells).astype(np.float64)  # exact to 2**53, and BLAS is fast
    drawn = np.zeros((resamples, cells))
    if documents:
        chance = np.random.default_rng(seed)
        block = max(1, MAX_DRAWS_PER_BLOCK // documents)
        for first in range(0, resamples, block):
            rows = len(drawn[first : first + block])
            drawn[first : first + block] = _draw_document_weights(chance, rows, documents) @ flat
    return drawn.reshape(resamples, *counts.shape[1:])


def _draw_document_weights(chance: np.random.Generator, rows: int, documents: int) -> Float64Array:
    """How often each document is drawn in each resample: (rows, documents), multinomial rows."""
    drawn = chance.integers(documents, size=(rows, documents))
    drawn += documents * np.arange(rows)[:, np.newaxis]
    times = np.bincount(drawn.ravel(), minlength=rows * documents)
    return times.reshape(rows, documents).astype(np.float64)


def compute_f1(counts: NDArray[Any]) -> Float64Array:
    """F1 of counts, 0.0 where there is nothing to divide by.

    Args:
        counts: Shape (..., 4), in the order of `COUNT_FIELDS`.

    Returns:
        Shape (...).
    """
    tp, tp_predicted, fp, fn = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    precision = _safe_divide(tp_predicted, tp_predicted + fp)
    recall = _safe_divide(tp, tp + fn)
    return _safe_divide(2 * precision * recall, precision + recall)


def compute_resampled_f1(counts: NDArray[Any]) -> Float64Array:
    """F1 of resampled counts, NaN where there is nothing in gold and nothing predicted.

    Such a resample says nothing of a rare label: with 0.0 for its F1, one that is always found
    would seem to be missed whenever its few documents are not drawn.

    Args:
        counts: Shape (..., 4), in the order of `COUNT_FIELDS`.

    Returns:
        Shape (...).
    """
    return np.where(np.asarray(counts).any(axis=-1), compute_f1(counts), np.nan)


def _safe_divide(part: Float64Array, whole: Float64Array) -> Float64Array:
    """Divide, with 0.0 for 0 / 0."""
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)


def percentile_interval(values: Float64Array) -> Float64Array:
    """The 95 % percentile interval of resampled values.

    Args:
        values: Shape (resamples, ...); those that are NaN are left out.

    Returns:
        Low and high ends, shape (2, ...); 0.0 for both where every value is NaN, which is the F1 of
        nothing.
    """
    nothing = np.isnan(values).all(axis=0)
    return np.nanquantile(np.where(nothing, 0.0, values), INTERVAL_QUANTILES, axis=0)


def compute_p_value(difference: float, resampled: Float64Array) -> float:
    """How easily chance alone gives a difference as large, to either side.

    The resampled differences vary around the observed one as, without any true difference, observed
    ones would around zero; so p is the share of them that lie at least as far from the observed
    difference as that lies from zero (Berg-Kirkpatrick et al. 2012, there one-sided: delta* > 2
    delta). One is added above and below, since the observed draw is one of those possible
    (Davison & Hinkley 1997, section 4.2): p is never 0.

    Args:
        difference: As observed, on all documents once.
        resampled: The same difference on each resample, shape (resamples,); those that are NaN are
            left out.

    Returns:
        A two-sided p in (0, 1].
    """
    resampled = resampled[~np.isnan(resampled)]
    # The tolerance keeps equal systems at p = 1 whatever the rounding of F1.
    as_far = np.abs(resampled - difference) >= abs(difference) - 1e-12
    return float((1 + np.count_nonzero(as_far)) / (1 + len(resampled)))
