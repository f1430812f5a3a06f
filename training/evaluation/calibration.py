"""Calibration of scores: its measurement, and the temperature that improves it.

Expected calibration error, its bins and temperature scaling: Guo et al. 2017, "On Calibration of
Modern Neural Networks". There the error is taken over class probabilities, here over the scores of
predicted spans, which are correct if they match strictly.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagalong.ner.document import Document, Prediction
from tagalong.ner.tags import IGNORE_INDEX

RELIABILITY_BINS = 10  # equal widths; (0.0, 0.1] is the first
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0  # search range
BISECTION_STEPS = 40  # of the log range: more precise than F1 or ECE can show


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Predicted spans with scores in (low, high]: mean score and share of correct ones, or 0.0."""

    low: float
    high: float
    spans: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class CalibrationMetrics:
    """How well scores predict correctness."""

    ece: float  # expected calibration error, the mean distance of confidence and accuracy
    spans: int  # predicted, with a score
    unscored: int  # predicted, without a score
    bins: tuple[ReliabilityBin, ...]  # by increasing score


def compute_calibration(
    gold: Sequence[Document], predicted: Sequence[Prediction]
) -> CalibrationMetrics | None:
    """Compare the scores of predicted spans with their accuracy; None if no span has a score."""
    answers = [
        (span.score, span in gold_spans)
        for document, prediction in zip(gold, predicted, strict=True)
        for gold_spans in [set(document.spans)]  # a set, because documents can have many spans
        for span in prediction.spans
    ]
    scored = [(score, is_correct) for score, is_correct in answers if score is not None]
    if not scored:
        return None
    scores, correct = np.array(scored).T
    return compute_reliability(scores, correct, unscored=len(answers) - len(scored))


def compute_reliability(
    scores: NDArray[np.float64], correct: NDArray[Any], *, unscored: int = 0
) -> CalibrationMetrics:
    """Bin scored predictions, and compare confidence with accuracy in each bin.

    At least one score in [0, 1], and 0 or 1 for its correctness; both of shape (predictions,).
    """
    edges = np.linspace(0.0, 1.0, RELIABILITY_BINS + 1)
    # clip, because a score of 0.0 is below the first open interval
    bin_index = np.clip(np.digitize(scores, edges, right=True) - 1, 0, RELIABILITY_BINS - 1)
    spans = np.bincount(bin_index, minlength=RELIABILITY_BINS)
    confidence, accuracy = (
        np.bincount(bin_index, weights=values, minlength=RELIABILITY_BINS) / np.maximum(spans, 1)
        for values in (scores, correct)
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

    low, high = np.log(1 / MAX_TEMPERATURE), np.log(1 / MIN_TEMPERATURE)  # of 1 / T, in log scale
    for _ in range(BISECTION_STEPS):
        middle = (low + high) / 2
        weights = np.exp(scores * np.exp(middle))
        expected = ((weights * finite).sum(axis=1) / weights.sum(axis=1)).mean()
        low, high = (middle, high) if expected < target else (low, middle)
    return float(np.exp(-(low + high) / 2))
