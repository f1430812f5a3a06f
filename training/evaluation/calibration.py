"""Calibration of scores: its measurement, and the temperature that improves it.

Expected calibration error, its bins and temperature scaling: Guo et al. 2017, "On Calibration of
Modern Neural Networks". There the error is taken over class probabilities, here over the scores of
predicted spans, which are correct if they match strictly.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tagalong.ner.document import Document, Prediction
from tagalong.ner.tags import IGNORE_INDEX

RELIABILITY_BINS = 10  # equal widths; (0.0, 0.1] is the first
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0  # search range
BISECTION_STEPS = 40  # of the log range: more precise than F1 or ECE can show


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Predicted spans with scores in (low, high].

    Attributes:
        confidence: Mean score; 0.0 without spans.
        accuracy: Share of correct spans; 0.0 without spans.
    """

    low: float
    high: float
    spans: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class CalibrationMetrics:
    """How well scores predict correctness.

    Attributes:
        ece: Expected calibration error, the mean distance between confidence and accuracy: 0 is
            best.
        spans: Number of predicted spans with a score.
        unscored: Number of predicted spans without a score.
        bins: By increasing score.
    """

    ece: float
    spans: int
    unscored: int
    bins: tuple[ReliabilityBin, ...]


def compute_calibration(
    gold: Sequence[Document], predicted: Sequence[Prediction]
) -> CalibrationMetrics | None:
    """Compare the scores of predicted spans with their accuracy.

    Args:
        gold: Gold documents.
        predicted: Predictions in the same order.

    Returns:
        None if no span has a score.
    """
    scores: list[float] = []
    correct: list[bool] = []
    unscored = 0
    for document, prediction in zip(gold, predicted, strict=True):
        gold_spans = set(document.spans)
        for span in prediction.spans:
            if span.score is None:
                unscored += 1
            else:
                scores.append(span.score)
                correct.append(span in gold_spans)
    if not scores:
        return None
    return compute_reliability(np.array(scores), np.array(correct), unscored=unscored)


def compute_reliability(
    scores: NDArray[np.float64], correct: NDArray[np.bool_], *, unscored: int = 0
) -> CalibrationMetrics:
    """Bin scored predictions, and compare confidence with accuracy in each bin.

    Args:
        scores: Confidence in [0, 1], shape (predictions,); at least one.
        correct: Correctness, shape (predictions,).
        unscored: Number of predictions without a score, for the result.

    Returns:
        The calibration metrics.
    """
    edges = np.linspace(0.0, 1.0, RELIABILITY_BINS + 1)
    bin_index = np.clip(np.digitize(scores, edges, right=True) - 1, 0, RELIABILITY_BINS - 1)
    spans = np.bincount(bin_index, minlength=RELIABILITY_BINS)
    confidence = np.bincount(bin_index, weights=scores, minlength=RELIABILITY_BINS) / np.maximum(
        spans, 1
    )
    accuracy = np.bincount(bin_index, weights=correct, minlength=RELIABILITY_BINS) / np.maximum(
        spans, 1
    )
    columns = (edges[:-1], edges[1:], spans, confidence, accuracy)
    return CalibrationMetrics(
        ece=float(np.sum(spans * np.abs(confidence - accuracy)) / len(scores)),
        spans=len(scores),
        unscored=unscored,
        bins=tuple(map(ReliabilityBin, *(column.tolist() for column in columns))),
    )


def fit_temperature(logits: NDArray[np.floating], gold: NDArray[np.integer]) -> float:
    """Find the temperature that maximizes the likelihood of the gold tags.

    The mean negative log-likelihood of softmax(logits / T) is convex in 1 / T. Its derivative is
    the expected logit minus the gold logit, and bisection finds the zero.

    Args:
        logits: Shape (words, tags); -inf for a forbidden tag.
        gold: Tag ids, shape (words,); `tagalong.ner.tags.IGNORE_INDEX` excludes a word.

    Returns:
        T, a divisor of logits between `MIN_TEMPERATURE` and `MAX_TEMPERATURE`; 1.0 without words.
        The ends are reached if all predictions are correct, or if they are uninformative.

    Raises:
        ValueError: If the shapes do not match.
    """
    if logits.ndim != 2 or gold.shape != logits.shape[:1]:
        raise ValueError(f"logits {logits.shape} and tags {gold.shape} do not have the same words")
    known = gold != IGNORE_INDEX
    if not known.any():
        return 1.0
    scores = logits[known].astype(np.float64)
    scores -= scores.max(axis=1, keepdims=True)  # softmax does not change, exp cannot overflow
    target = float(scores[np.arange(len(scores)), gold[known]].mean())
    finite = np.where(np.isfinite(scores), scores, 0.0)  # 0 * inf is not 0

    low, high = np.log(1 / MAX_TEMPERATURE), np.log(1 / MIN_TEMPERATURE)
    for _ in range(BISECTION_STEPS):
        middle = (low + high) / 2
        weights = np.exp(scores * np.exp(middle))
        expected = ((weights * finite).sum(axis=1) / weights.sum(axis=1)).mean()
        low, high = (middle, high) if expected < target else (low, middle)
    return float(np.exp(-(low + high) / 2))
