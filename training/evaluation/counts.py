"""Counts of one system in one array, the source of totals, strata and intervals.

Each document is counted once, into an array (documents, schemes, labels, lengths, fields). Scores
are sums over documents; bootstrap intervals are sums over resampled documents.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagalong.ner.document import Document, Prediction
from tagalong.ner.scoring import LENGTH_BUCKETS, Counts, LengthBucket, score_spans
from tagalong.training.evaluation.bootstrap import (
    COUNT_FIELDS,
    Float64Array,
    compute_f1,
    compute_p_value,
    compute_resampled_f1,
    counts_to_row,
    percentile_interval,
    resample_counts,
)
from tagalong.training.evaluation.edit_effort import EditEffort
from tagalong.training.evaluation.report import (
    CountsWithInterval,
    F1Difference,
    StratumDifferences,
    StratumScores,
    SystemComparison,
)

MATCH_SCHEMES = ("strict", "relaxed")  # the order of that axis
TOTAL_INDEX = 0  # position of the sums: all labels, all lengths
LENGTH_COLUMNS: Mapping[LengthBucket, int] = {
    length: column for column, length in enumerate(LENGTH_BUCKETS, start=1)
}


@dataclass(frozen=True, slots=True)
class SystemCounts:
    """Counts of one system; index `TOTAL_INDEX` of the label and length axes is their sum.

    Attributes:
        version: Version, or versions, of the predictions.
        counts: Shape (schemes, 1 + labels, 1 + lengths, fields).
        f1: Shape (schemes, 1 + labels, 1 + lengths).
        resampled_f1: Shape (resamples, schemes, 1 + labels, 1 + lengths); NaN if a resample has no
            such spans in gold or predictions.
    """

    version: str
    counts: NDArray[np.int64]
    f1: Float64Array
    resampled_f1: Float64Array


def count_system(
    gold: Sequence[Document],
    predicted: Sequence[Prediction],
    labels: Sequence[str],
    *,
    resamples: int,
    seed: int,
) -> SystemCounts:
    """Count one system's spans, once on all documents and once on each resample.

    Args:
        gold: Gold documents.
        predicted: Predictions in the same order.
        labels: All labels of gold and predictions.
        resamples: Number of bootstrap resamples.
        seed: Equal seeds draw equal documents, which pairs two systems.

    Returns:
        The system counts.
    """
    table = count_by_document(gold, predicted, labels)
    counts = _with_totals(table.sum(axis=0))
    resampled = _with_totals(resample_counts(table, resamples=resamples, seed=seed))
    version = ", ".join(sorted({prediction.version for prediction in predicted}))
    return SystemCounts(version, counts, compute_f1(counts), compute_resampled_f1(resampled))


def count_by_document(
    gold: Sequence[Document], predicted: Sequence[Prediction], labels: Sequence[str]
) -> NDArray[np.int64]:
    """Count each document once.

    Returns shape (documents, schemes, labels, lengths, fields), in the order of `MATCH_SCHEMES`,
    labels, `tagalong.ner.scoring.LENGTH_BUCKETS` and
    `tagalong.training.evaluation.bootstrap.COUNT_FIELDS`.
    """
    shape = (len(gold), len(MATCH_SCHEMES), len(labels), len(LENGTH_BUCKETS), len(COUNT_FIELDS))
    table = np.zeros(shape, dtype=np.int64)
    rows = {label: row for row, label in enumerate(labels)}
    for document_counts, document, prediction in zip(table, gold, predicted, strict=True):
        scores = score_spans(document.text, document.spans, prediction.spans)
        for scheme, stratified in enumerate((scores.strict, scores.relaxed)):
            for (label, length), counts in stratified.cells.items():
                document_counts[scheme, rows[label], LENGTH_BUCKETS.index(length)] = counts_to_row(
                    counts
                )
    return table


def _with_totals(counts: NDArray[Any]) -> NDArray[Any]:
    counts = np.concatenate([counts.sum(axis=-3, keepdims=True), counts], axis=-3)
    return np.concatenate([counts.sum(axis=-2, keepdims=True), counts], axis=-2)


def stratum_scores(system_counts: SystemCounts, row: int, column: int) -> StratumScores:
    """Read one cell of the counts under both match schemes.

    Args:
        system_counts: Counts of a system.
        row: Position of the label, from 1; or `TOTAL_INDEX`.
        column: A value of `LENGTH_COLUMNS`; or `TOTAL_INDEX`.

    Returns:
        The stratum scores.
    """
    ends = percentile_interval(system_counts.resampled_f1[:, :, row, column])
    strict, relaxed = (
        CountsWithInterval(Counts(*counts), (low, high))
        for counts, low, high in zip(
            system_counts.counts[:, row, column].tolist(), *ends.tolist(), strict=True
        )
    )
    return StratumScores(strict, relaxed)


def compare_systems(
    first: SystemCounts, second: SystemCounts, labels: Sequence[str], *, effort: EditEffort
) -> SystemComparison:
    """Compare two systems overall, by label and by length.

    Args:
        first: First system.
        second: Second system, counted on the same documents with the same seed.
        labels: Labels of both counts, in order.
        effort: Edit effort for the second system's predictions.

    Returns:
        The system comparison.
    """

    def differences(row: int, column: int) -> StratumDifferences:
        return StratumDifferences(
            *(
                _difference(first, second, (scheme, row, column))
                for scheme in range(len(MATCH_SCHEMES))
            )
        )

    return SystemComparison(
        model=second.version,
        overall=differences(TOTAL_INDEX, TOTAL_INDEX),
        by_label={
            label: differences(row, TOTAL_INDEX) for row, label in enumerate(labels, start=1)
        },
        by_length={
            length: differences(TOTAL_INDEX, column) for length, column in LENGTH_COLUMNS.items()
        },
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
