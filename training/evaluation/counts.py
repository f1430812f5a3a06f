"""Counts of one system in one array, the source of totals, strata and intervals.

Each document is counted once, into an array (documents, schemes, labels, lengths, fields). Scores
are sums over documents; bootstrap intervals are sums over resampled documents.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagalong.ner.document import Document, Prediction
from tagalong.ner.length_buckets import LENGTH_BUCKETS, LengthBucket, LengthUnit
from tagalong.ner.scoring import Counts, score_spans
from tagalong.training.evaluation.bootstrap import (
    Float64Array,
    compute_f1,
    compute_p_value,
    compute_resampled_f1,
    percentile_interval,
    resample_counts,
)
from tagalong.training.evaluation.edit_effort import EditEffort
from tagalong.training.evaluation.report import (
    CountsWithInterval,
    F1Difference,
    MatchSchemes,
    StratumDifferences,
    StratumScores,
    SystemComparison,
)


@dataclass(frozen=True, slots=True)
class SystemCounts:
    """Counts of one system; index 0 of the label and length axes is their sum.

    Attributes:
        version: Version, or versions, of the predictions.
        counts: Shape (schemes, 1 + labels, 1 + lengths, fields).
        f1: Shape (schemes, 1 + labels, 1 + lengths).
        resampled_f1: Shape (resamples, schemes, 1 + labels, 1 + lengths); NaN if a resample has no
            such spans in gold or predictions.
    """

    version: str
    labels: Sequence[str]
    counts: NDArray[np.int64]
    f1: Float64Array
    resampled_f1: Float64Array

    def scores(self, label: str | None = None, length: LengthBucket | None = None) -> StratumScores:
        """Scores of one stratum; None for all labels or all lengths."""
        cell = self.cell(label, length)
        ends = percentile_interval(self.resampled_f1[:, :, *cell])
        rows = zip(self.counts[:, *cell].tolist(), *ends.tolist(), strict=True)
        return MatchSchemes(
            *(CountsWithInterval(Counts(*counts), (low, high)) for counts, low, high in rows)
        )

    def scores_by_length(self, label: str | None = None) -> dict[LengthBucket, StratumScores]:
        """Scores of each length, of one label or of all."""
        return {length: self.scores(label, length) for length in LENGTH_BUCKETS}

    def cell(self, label: str | None, length: LengthBucket | None) -> tuple[int, int]:
        """Index of a stratum on the label and length axes."""
        row = 0 if label is None else 1 + self.labels.index(label)
        return row, 0 if length is None else 1 + LENGTH_BUCKETS.index(length)


def count_system(
    gold: Sequence[Document],
    predicted: Sequence[Prediction],
    labels: Sequence[str],
    *,
    resamples: int,
    seed: int,
    unit: LengthUnit = "words",
) -> SystemCounts:
    """Count one system's spans, once on all documents and once on each resample.

    Equal seeds draw equal documents, which pairs two systems. `labels` has all labels of gold and
    predictions.
    """
    table = count_by_document(gold, predicted, labels, unit)
    counts = _with_totals(table.sum(axis=0))
    resampled = _with_totals(resample_counts(table, resamples=resamples, seed=seed))
    version = ", ".join(sorted({prediction.version for prediction in predicted}))
    f1, resampled_f1 = compute_f1(counts), compute_resampled_f1(resampled)
    return SystemCounts(version, labels, counts, f1, resampled_f1)


def count_by_document(
    gold: Sequence[Document],
    predicted: Sequence[Prediction],
    labels: Sequence[str],
    unit: LengthUnit = "words",
) -> NDArray[np.int64]:
    """Count each document once.

    Returns shape (documents, schemes, labels, lengths, fields): strict and relaxed, `labels`,
    `tagalong.ner.length_buckets.LENGTH_BUCKETS`, and the fields of `tagalong.ner.scoring.Counts`.
    """
    table = np.zeros((len(gold), 2, len(labels), len(LENGTH_BUCKETS), 4), dtype=np.int64)
    rows = {label: row for row, label in enumerate(labels)}
    for document_counts, document, prediction in zip(table, gold, predicted, strict=True):
        scores = score_spans(document.text, document.spans, prediction.spans, unit)
        for scheme, stratified in enumerate((scores.strict, scores.relaxed)):
            for (label, length), counts in stratified.cells.items():
                cell = scheme, rows[label], LENGTH_BUCKETS.index(length)
                # dataclasses.astuple would copy each field deeply, which is slow
                document_counts[cell] = counts.tp, counts.tp_predicted, counts.fp, counts.fn
    return table


def _with_totals(counts: NDArray[Any]) -> NDArray[Any]:
    """Put the sums over labels and over lengths in front of these axes."""
    counts = np.concatenate([counts.sum(axis=-3, keepdims=True), counts], axis=-3)
    return np.concatenate([counts.sum(axis=-2, keepdims=True), counts], axis=-2)


def compare_systems(
    first: SystemCounts, second: SystemCounts, effort: EditEffort
) -> SystemComparison:
    """Compare two systems that were counted on the same documents with the same seed and labels.

    `effort` is that of the second system's predictions.
    """

    def compare(label: str | None = None, length: LengthBucket | None = None) -> StratumDifferences:
        cell = first.cell(label, length)
        return MatchSchemes(*(_difference(first, second, (one, *cell)) for one in (0, 1)))

    return SystemComparison(
        model=second.version,
        overall=compare(),
        by_label={label: compare(label) for label in first.labels},
        by_length={length: compare(length=length) for length in LENGTH_BUCKETS},
        effort=effort,
    )


def _difference(
    first: SystemCounts, second: SystemCounts, cell: tuple[int, int, int]
) -> F1Difference:
    observed = float(first.f1[cell] - second.f1[cell])
    resampled = first.resampled_f1[:, *cell] - second.resampled_f1[:, *cell]
    low, high = percentile_interval(resampled).tolist()
    second_low, second_high = percentile_interval(second.resampled_f1[:, *cell]).tolist()
    return F1Difference(
        other_f1=float(second.f1[cell]),
        other_f1_interval=(second_low, second_high),
        difference=observed,
        interval=(low, high),
        p_value=compute_p_value(observed, resampled),
    )
