"""Uncertainty of scores: the percentile bootstrap over documents.

Documents are resampled with replacement, because spans of one document are not independent. Counts
are taken once per document. A resample is a row of weights, the number of times each document was
drawn, so the counts of all resamples are one matrix product. Intervals: Efron & Tibshirani 1993,
"An Introduction to the Bootstrap", chapter 13. Paired comparison: the same resamples for both
systems (Koehn 2004), tested as by Berg-Kirkpatrick, Burkett & Klein 2012. A resample without spans
of a label or length has no F1 there (NaN) and is ignored.
"""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

INTERVAL_QUANTILES = (0.025, 0.975)  # ends of a 95 % interval
DEFAULT_RESAMPLES = 1000  # standard for intervals; p is then accurate to about 0.01
MAX_DRAWS_PER_BLOCK = 2_000_000  # weights in memory at once: 16 MB

Float64Array = NDArray[np.float64]


def resample_counts(
    counts: NDArray[Any], *, resamples: int = DEFAULT_RESAMPLES, seed: int = 0
) -> Float64Array:
    """Resample documents with replacement, and count each resample.

    Equal seeds draw equal documents, which pairs the scores of two systems.

    Returns counts of shape (resamples, ...) for `counts` of shape (documents, ...); all 0 without
    documents.
    """
    documents, *shape = counts.shape
    # float64 is exact to 2**53, and its product uses BLAS; that of integers does not
    flat = counts.reshape(documents, prod(shape)).astype(np.float64)
    resampled_counts = np.zeros((resamples, prod(shape)))
    generator = np.random.default_rng(seed)
    block = max(1, MAX_DRAWS_PER_BLOCK // max(1, documents))
    for first in range(0, resamples, block) if documents else ():
        part = resampled_counts[first : first + block]
        part[:] = _draw_document_weights(generator, len(part), documents) @ flat
    return resampled_counts.reshape(resamples, *shape)


def _draw_document_weights(
    generator: np.random.Generator, rows: int, documents: int
) -> Float64Array:
    """Number of times that each document is drawn, shape (rows, documents)."""
    drawn = generator.integers(documents, size=(rows, documents))
    drawn += documents * np.arange(rows)[:, np.newaxis]  # one range of ids per resample
    weights = np.bincount(drawn.ravel(), minlength=rows * documents)
    return weights.reshape(rows, documents).astype(np.float64)


def compute_f1(counts: NDArray[Any]) -> Float64Array:
    """Compute F1 of counts of shape (..., 4); undefined ratios are 0.0.

    The last axis has the fields of `tagalong.ner.scoring.Counts`.
    """
    tp, tp_predicted, fp, fn = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    precision = _safe_divide(tp_predicted, tp_predicted + fp)
    recall = _safe_divide(tp, tp + fn)
    return _safe_divide(2 * precision * recall, precision + recall)


def compute_resampled_f1(counts: NDArray[Any]) -> Float64Array:
    """Compute F1 as `compute_f1` does, with NaN if gold and predictions have no spans.

    Such a resample carries no information on a rare label. With an F1 of 0.0, a label that is
    always found would seem to be missed in every resample without its few documents.
    """
    return np.where(np.asarray(counts).any(axis=-1), compute_f1(counts), np.nan)


def _safe_divide(part: Float64Array, whole: Float64Array) -> Float64Array:
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)


def percentile_interval(values: Float64Array) -> Float64Array:
    """Compute the 95 % percentile interval of resampled values, shape (resamples, ...).

    Returns low and high ends, shape (2, ...). NaN is ignored; if all are NaN, both ends are 0.0.
    """
    all_nan = np.isnan(values).all(axis=0)  # nanquantile would warn
    return np.nanquantile(np.where(all_nan, 0.0, values), INTERVAL_QUANTILES, axis=0)


def compute_p_value(difference: float, resampled: Float64Array) -> float:
    """Compute the probability of a difference at least as large without a true difference.

    Resampled differences vary around the observed one as observed ones would vary around zero
    without a true difference. So p is the share of them at least as far from the observed
    difference as that is from zero (Berg-Kirkpatrick et al. 2012, there one-sided: delta* > 2
    delta). One is added to numerator and denominator, because the observed sample is a possible
    resample (Davison & Hinkley 1997, section 4.2): p is never 0. NaN is ignored.

    Returns a two-sided p in (0, 1].
    """
    resampled = resampled[~np.isnan(resampled)]
    # The tolerance keeps p = 1 for equal systems in spite of rounding.
    as_far = np.abs(resampled - difference) >= abs(difference) - 1e-12
    return float((1 + np.count_nonzero(as_far)) / (1 + len(resampled)))
