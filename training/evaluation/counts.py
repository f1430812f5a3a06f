"""One system's counts in one array, from which totals, strata and intervals are all drawn.

Counts are taken once per document: an array (documents, schemes, labels, lengths, fields). Every
figure is a sum over it, and every bootstrap interval a sum over resampled documents of it.
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
TOTAL_INDEX = 0  # where margins stand: all labels, all lengths
LENGTH_COLUMNS: Mapping[LengthBucket, int] = {
    length: column for column, length in enumerate(LENGTH_BUCKETS, start=1)
}


@dataclass(frozen=True, slots=True)
class SystemCounts:
    """One system's counts, margins included: index `TOTAL_INDEX` of labels and of lengths is their sum.

    Attributes:
        version: What the predictions call themselves.
        counts: Shape (schemes, 1 + labels, 1 + lengths, fields).
        f1: F1 of the counts, shape (schemes, 1 + labels, 1 + lengths).
        resampled_f1: F1 of each resample, shape (resamples, schemes, 1 + labels, 1 + lengths); NaN where
            the resample has none of these spans, in gold or predicted.
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
    """Count one system's spans, on all documents once and on each resample.

    Args:
        gold: Documents with what is right.
        predicted: What was said about each, in the same order.
        labels: Every label that occurs.
        resamples: How many to draw.
        seed: Equal seeds draw equal documents, which pairs two systems.

    Returns:
        Its counts and their F1.
    """
    table = count_by_document(gold, predicted, labels)
    counts = _with_totals(table.sum(axis=0))
    drawn = _with_totals(resample_counts(table, resamples=resamples, seed=seed))
    version = ", ".join(sorted({prediction.version for prediction in predicted}))
    return SystemCounts(version, counts, compute_f1(counts), compute_resampled_f1(drawn))


def count_by_document(
    gold: Sequence[Document], predicted: Sequence[Prediction], labels: Sequence[str]
) -> NDArray[np.int64]:
    """Count each document once.

    Args:
        gold: Documents with what is right.
        predicted: What was said about each, in the same order.
        labels: Every label that occurs.

    Returns:
        Counts of shape (documents, schemes, labels, lengths, fields), in the order of `MATCH_SCHEMES`,
        labels, `tagalong.ner.scoring.LENGTH_BUCKETS` and `tagalong.training.evaluation.bootstrap.COUNT_FIELDS`.
    """
    shape = (len(gold), len(MATCH_SCHEMES), len(labels), len(LENGTH_BUCKETS), len(COUNT_FIELDS))
    table = np.zeros(shape, dtype=np.int64)
    rows = {label: row for row, label in enumerate(labels)}
    for of_document, document, prediction in zip(table, gold, predicted, strict=True):
        scores = score_spans(document.text, document.spans, prediction.spans)
        for scheme, tally in enumerate((scores.strict, scores.relaxed)):
            for (label, length), counts in tally.cells.items():
                of_document[scheme, rows[label], LENGTH_BUCKETS.index(length)] = counts_to_row(
                    counts
                )
    return table


def _with_totals(counts: NDArray[Any]) -> NDArray[Any]:
    """Put sums before labels and lengths: (..., labels, lengths, 4), each axis one longer."""
    counts = np.concatenate([counts.sum(axis=-3, keepdims=True), counts], axis=-3)
    return np.concatenate([counts.sum(axis=-2, keepdims=True), counts], axis=-2)


def stratum_scores(system_counts: SystemCounts, row: int, column: int) -> StratumScores:
    """Draw one cell of the table, both ways.

    Args:
        system_counts: Counts.
        row: Place of the label among labels, from 1; or `TOTAL_INDEX`.
        column: One of `LENGTH_COLUMNS`; or `TOTAL_INDEX`.

    Returns:
        Counts and intervals of that cell.
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
    ours: SystemCounts, theirs: SystemCounts, labels: Sequence[str], *, effort: EditEffort
) -> SystemComparison:
    """Set two systems against each other.

    Args:
        ours: One system.
        theirs: Another, judged on the same documents with the same seed.
        labels: Those both were judged by.
        effort: What it takes to put the other's predictions right.

    Returns:
        Differences overall, by label and by length.
    """

    def differences(row: int, column: int) -> StratumDifferences:
        return StratumDifferences(
            *(
                _difference(ours, theirs, (scheme, row, column))
                for scheme in range(len(MATCH_SCHEMES))
            )
        )

    return SystemComparison(
        model=theirs.version,
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
    ours: SystemCounts, theirs: SystemCounts, cell: tuple[int, int, int]
) -> F1Difference:
    """Two systems in one cell: (scheme, label, length); on the resamples where both have an F1."""
    observed = float(ours.f1[cell] - theirs.f1[cell])
    drawn = ours.resampled_f1[:, *cell] - theirs.resampled_f1[:, *cell]
    low, high = percentile_interval(drawn).tolist()
    their_low, their_high = percentile_interval(theirs.resampled_f1[:, *cell]).tolist()
    return F1Difference(
        other_f1=float(theirs.f1[cell]),
        other_f1_interval=(their_low, their_high),
        difference=observed,
        interval=(low, high),
        p_value=compute_p_value(observed, drawn),
    )
