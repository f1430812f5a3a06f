"""Whether a score of 0.9 means right nine times in ten, and the temperature that makes it so.

The expected calibration error and its bins: Guo et al. 2017, "On Calibration of Modern Neural
Networks"; there over class probabilities, here over the scores of predicted spans, where right
means the strict match. Temperature scaling is from the same paper.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tagalong.ner.document import Document, Prediction
from tagalong.ner.tags import IGNORE_INDEX

RELIABILITY_BINS = 10  # equal widths; (0.0, 0.1] is the first
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0  # a temperature is searched between these
BISECTION_STEPS = 40  # of that range, in log: far below what F1 or ECE can see


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Predicted spans of about one score.

    Attributes:
        low: Scores are above this.
        high: Scores are at most this.
        spans: How many there are.
        confidence: Their mean score, 0.0 where there are none.
        accuracy: The share of them that is right, 0.0 where there are none.
    """

    low: float
    high: float
    spans: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class CalibrationMetrics:
    """How well scores foretell what is right.

    Attributes:
        ece: Mean distance of confidence and accuracy over spans, by bin: 0 is perfect, 1 the worst.
        spans: Predicted spans that have a score.
        unscored: Predicted spans that have none.
        bins: By rising score.
    """

    ece: float
    spans: int
    unscored: int
    bins: tuple[ReliabilityBin, ...]


def compute_calibration(
    gold: Sequence[Document], predicted: Sequence[Prediction]
) -> CalibrationMetrics | None:
    """Compare the scores of predicted spans with how often they are right.

    Args:
        gold: Documents with what is right.
        predicted: What was said about each, in the same order.

    Returns:
        ECE and its bins, or None where no span has a score.
    """
    scores: list[float] = []
    right: list[bool] = []
    unscored = 0
    for document, prediction in zip(gold, predicted, strict=True):
        true = set(document.spans)
        for span in prediction.spans:
            if span.score is None:
                unscored += 1
            else:
                scores.append(span.score)
                right.append(span in true)
    if not scores:
        return None
    return compute_reliability(np.array(scores), np.array(right), unscored=unscored)


def compute_reliability(
    scores: NDArray[np.float64], right: NDArray[np.bool_], *, unscored: int = 0
) -> CalibrationMetrics:
    """Sort scored answers into bins and measure how far confidence is from accuracy.

    Args:
        scores: Confidence of each answer in [0, 1], shape (answers,); at least one.
        right: Whether it is right, shape (answers,).
        unscored: Answers left out, to be passed on.

    Returns:
        ECE and its bins.
    """
    edges = np.linspace(0.0, 1.0, RELIABILITY_BINS + 1)
    place = np.clip(np.digitize(scores, edges, right=True) - 1, 0, RELIABILITY_BINS - 1)
    spans = np.bincount(place, minlength=RELIABILITY_BINS)
    confidence = np.bincount(place, weights=scores, minlength=RELIABILITY_BINS) / np.maximum(
        spans, 1
    )
    accuracy = np.bincount(place, weights=right, minlength=RELIABILITY_BINS) / np.maximum(spans, 1)
    columns = (edges[:-1], edges[1:], spans, confidence, accuracy)
    return CalibrationMetrics(
        ece=float(np.sum(spans * np.abs(confidence - accuracy)) / len(scores)),
        spans=len(scores),
        unscored=unscored,
        bins=tuple(map(ReliabilityBin, *(column.tolist() for column in columns))),
    )


def fit_temperature(logits: NDArray[np.floating], gold: NDArray[np.integer]) -> float:
    """Find the temperature under which the gold tags are likeliest.

    The mean negative log-likelihood of softmax(logits / T) is convex in 1 / T, and its slope there
    is the expected logit less the gold one: so the zero of the slope is found by bisection.

    Args:
        logits: Scores of each tag, shape (words, tags); -inf for a tag that is forbidden.
        gold: Tag ids, shape (words,); words marked `tagalong.ner.tags.IGNORE_INDEX` do not count.

    Returns:
        T > 0, to divide logits by; 1.0 where no word counts. It stays between `MIN_TEMPERATURE` and
        `MAX_TEMPERATURE`, which it reaches where every answer is right, or where they say nothing.

    Raises:
        ValueError: If the shapes do not fit each other.
    """
    if logits.ndim != 2 or gold.shape != logits.shape[:1]:
        raise ValueError(f"logits {logits.shape} and tags {gold.shape} are not of the same words")
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
