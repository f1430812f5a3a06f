"""One system's counts in one array, from which totals, strata and intervals are all drawn.

Counts are taken once per document: an array (documents, schemes, labels, lengths, fields). Every
figure is a sum over it, and every bootstrap interval a sum over resampled documents of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ner.document import Document, Prediction
from ner.scoring import LENGTHS, Counts, Length, score
from training.bootstrap import FIELDS, Floats, as_row, drawn_f1, f1, interval, p_value, resample
from training.effort import Effort
from training.report import Comparison, Difference, Differences, Figure, Figures

SCHEMES = ("strict", "relaxed")  # the order of that axis
ALL = 0  # where margins stand: all labels, all lengths
COLUMNS: Mapping[Length, int] = {length: column for column, length in enumerate(LENGTHS, start=1)}


@dataclass(frozen=True, slots=True)
class Judged:
    """One system's counts, margins included: index `ALL` of labels and of lengths is their sum.

    Attributes:
        version: What the predictions call themselves.
        counts: Shape (schemes, 1 + labels, 1 + lengths, fields).
        f1: F1 of the counts, shape (schemes, 1 + labels, 1 + lengths).
        drawn: F1 of each resample, shape (resamples, schemes, 1 + labels, 1 + lengths); NaN where
            the resample has none of these spans, in gold or predicted.
    """

    version: str
    counts: NDArray[np.int64]
    f1: Floats
    drawn: Floats


def judge(
    gold: Sequence[Document],
    predicted: Sequence[Prediction],
    labels: Sequence[str],
    *,
    resamples: int,
    seed: int,
) -> Judged:
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
    table = tabulate(gold, predicted, labels)
    counts = _with_margins(table.sum(axis=0))
    drawn = _with_margins(resample(table, resamples=resamples, seed=seed))
    version = ", ".join(sorted({prediction.version for prediction in predicted}))
    return Judged(version, counts, f1(counts), drawn_f1(drawn))


def tabulate(
    gold: Sequence[Document], predicted: Sequence[Prediction], labels: Sequence[str]
) -> NDArray[np.int64]:
    """Count each document once.

    Args:
        gold: Documents with what is right.
        predicted: What was said about each, in the same order.
        labels: Every label that occurs.

    Returns:
        Counts of shape (documents, schemes, labels, lengths, fields), in the order of `SCHEMES`,
        labels, `ner.scoring.LENGTHS` and `training.bootstrap.FIELDS`.
    """
    shape = (len(gold), len(SCHEMES), len(labels), len(LENGTHS), len(FIELDS))
    table = np.zeros(shape, dtype=np.int64)
    rows = {label: row for row, label in enumerate(labels)}
    for of_document, document, prediction in zip(table, gold, predicted, strict=True):
        scores = score(document.text, document.spans, prediction.spans)
        for scheme, tally in enumerate((scores.strict, scores.relaxed)):
            for (label, length), counts in tally.cells.items():
                of_document[scheme, rows[label], LENGTHS.index(length)] = as_row(counts)
    return table


def _with_margins(counts: NDArray[Any]) -> NDArray[Any]:
    """Put sums before labels and lengths: (..., labels, lengths, 4), each axis one longer."""
    counts = np.concatenate([counts.sum(axis=-3, keepdims=True), counts], axis=-3)
    return np.concatenate([counts.sum(axis=-2, keepdims=True), counts], axis=-2)


def figures(judged: Judged, row: int, column: int) -> Figures:
    """Draw one cell of the table, both ways.

    Args:
        judged: Counts.
        row: Place of the label among labels, from 1; or `ALL`.
        column: One of `COLUMNS`; or `ALL`.

    Returns:
        Counts and intervals of that cell.
    """
    ends = interval(judged.drawn[:, :, row, column])
    strict, relaxed = (
        Figure(Counts(*counts), (low, high))
        for counts, low, high in zip(
            judged.counts[:, row, column].tolist(), *ends.tolist(), strict=True
        )
    )
    return Figures(strict, relaxed)


def compare(ours: Judged, theirs: Judged, labels: Sequence[str], *, effort: Effort) -> Comparison:
    """Set two systems against each other.

    Args:
        ours: One system.
        theirs: Another, judged on the same documents with the same seed.
        labels: Those both were judged by.
        effort: What it takes to put the other's predictions right.

    Returns:
        Differences overall, by label and by length.
    """

    def differences(row: int, column: int) -> Differences:
        return Differences(
            *(_difference(ours, theirs, (scheme, row, column)) for scheme in range(len(SCHEMES)))
        )

    return Comparison(
        model=theirs.version,
        overall=differences(ALL, ALL),
        by_label={label: differences(row, ALL) for row, label in enumerate(labels, start=1)},
        by_length={length: differences(ALL, column) for length, column in COLUMNS.items()},
        effort=effort,
    )


def _difference(ours: Judged, theirs: Judged, cell: tuple[int, int, int]) -> Difference:
    """Two systems in one cell: (scheme, label, length); on the resamples where both have an F1."""
    observed = float(ours.f1[cell] - theirs.f1[cell])
    drawn = ours.drawn[:, *cell] - theirs.drawn[:, *cell]
    low, high = interval(drawn).tolist()
    their_low, their_high = interval(theirs.drawn[:, *cell]).tolist()
    return Difference(
        f1=float(theirs.f1[cell]),
        f1_interval=(their_low, their_high),
        difference=observed,
        interval=(low, high),
        p=p_value(observed, drawn),
    )
