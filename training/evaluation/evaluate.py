"""Evaluate predictions against a gold standard, and score a development set."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from seqeval.metrics import f1_score
from seqeval.scheme import IOB2

from tagalong.ner.document import Document, DroppedAnnotation, Prediction
from tagalong.ner.errors import InputError
from tagalong.ner.scoring import LengthBucket
from tagalong.ner.tags import IGNORE_INDEX, OUTSIDE, TagSet
from tagalong.training.evaluation.bootstrap import DEFAULT_RESAMPLES
from tagalong.training.evaluation.calibration import compute_calibration
from tagalong.training.evaluation.counts import (
    LENGTH_COLUMNS,
    TOTAL_INDEX,
    SystemCounts,
    compare_systems,
    count_system,
    stratum_scores,
)
from tagalong.training.evaluation.edit_effort import EditEffort, compute_edit_effort
from tagalong.training.evaluation.error_types import SpanMismatch, find_mismatches, summarize_errors
from tagalong.training.evaluation.report import (
    DocumentView,
    EvaluationReport,
    StratumScores,
    summarize_dropped,
)

MIN_DOCUMENTS_FOR_INTERVALS = 20  # below it, bootstrap intervals are unreliable


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """Settings of an evaluation.

    Attributes:
        labels: Labels of the model, in its order; None if unknown.
        resamples: Number of bootstrap resamples.
        max_examples_per_type: Examples per error type and per reason of a dropped annotation.
        max_worst_documents: Documents shown in full, at most.
    """

    labels: tuple[str, ...] | None = None
    resamples: int = DEFAULT_RESAMPLES
    seed: int = 0
    max_examples_per_type: int = 5
    max_worst_documents: int = 10


def evaluate(
    gold: Sequence[Document],
    predicted: Sequence[Prediction],
    *,
    source: str = "",
    against: Sequence[Prediction] | None = None,
    dropped: Sequence[DroppedAnnotation] = (),
    options: EvaluationOptions | None = None,
) -> EvaluationReport:
    """Evaluate predictions against gold documents.

    Args:
        gold: Gold documents; all their spans count, including those that flat BIO cannot represent.
        predicted: Predictions in the order of `gold`.
        source: Name of the gold standard in the report.
        against: Predictions of a second system, in the same order.
        dropped: Annotations that were dropped while reading gold.
        options: None for the defaults.

    Returns:
        The evaluation report.

    Raises:
        InputError: If there are no documents.
    """
    if not gold:
        raise InputError(
            "there are no gold documents: give a gold file with documents",
            code="gold-without-documents",
        )
    options = options or EvaluationOptions()
    labels = _all_labels(gold, [*predicted, *(against or ())], options.labels or ())
    bootstrap = {"resamples": options.resamples, "seed": options.seed}
    first = count_system(gold, predicted, labels, **bootstrap)
    second = None if against is None else count_system(gold, against, labels, **bootstrap)
    efforts_by_document = _compute_efforts(gold, predicted)
    flat = _dropped_by_flat_bio(gold)
    invalid_predictions = [entry for prediction in predicted for entry in prediction.dropped]
    examples = options.max_examples_per_type
    unknown = _unknown_labels(gold, options.labels)
    rows = {label: row for row, label in enumerate(labels, start=1)}
    return EvaluationReport(
        model=first.version,
        gold=source,
        documents=len(gold),
        overall=stratum_scores(first, TOTAL_INDEX, TOTAL_INDEX),
        by_label={label: stratum_scores(first, row, TOTAL_INDEX) for label, row in rows.items()},
        by_length=_scores_by_length(first, TOTAL_INDEX),
        by_label_and_length={label: _scores_by_length(first, row) for label, row in rows.items()},
        dropped_by_flat_bio=summarize_dropped(flat, examples=examples),
        dropped_on_import=summarize_dropped(dropped, examples=examples),
        dropped_predictions=summarize_dropped(invalid_predictions, examples=examples),
        errors_by_type=summarize_errors(
            _find_mismatches(gold, predicted),
            examples=examples,
        ),
        effort=sum(efforts_by_document, EditEffort()),
        worst_documents=tuple(
            _worst_documents(gold, predicted, efforts_by_document)[: options.max_worst_documents]
        ),
        calibration=compute_calibration(gold, predicted),
        comparison=None
        if second is None or against is None
        else compare_systems(
            first, second, labels, effort=sum(_compute_efforts(gold, against), EditEffort())
        ),
        unknown_labels=unknown,
        warnings=tuple(_warnings(gold, predicted, flat=flat, unknown=unknown)),
        resamples=options.resamples,
        seed=options.seed,
    )


def _scores_by_length(system: SystemCounts, row: int) -> dict[LengthBucket, StratumScores]:
    return {
        length: stratum_scores(system, row, column) for length, column in LENGTH_COLUMNS.items()
    }


def compute_dev_strict_f1(
    documents: Sequence[Document], predictions: Sequence[Prediction], tag_set: TagSet
) -> float:
    """Compute strict F1 over word tags with seqeval: the criterion of early stopping.

    Gold is encoded as tags first, so spans that flat BIO cannot represent are absent here, whereas
    `evaluate` counts them as missed. Their words count as O.

    Args:
        documents: Gold documents.
        predictions: Predictions in the same order.
        tag_set: Tags of the model.

    Returns:
        F1 in seqeval's strict mode under IOB2; 0.0 if there are no entities.
    """
    pairs = list(zip(documents, predictions, strict=True))
    if not pairs:
        return 0.0
    gold = [_tag_names(document, tag_set) for document, _ in pairs]
    said = [
        _tag_names(Document(document.id, document.text, prediction.spans), tag_set)
        for document, prediction in pairs
    ]
    return float(f1_score(gold, said, mode="strict", scheme=IOB2, zero_division=0))


def _tag_names(document: Document, tag_set: TagSet) -> list[str]:
    names = tag_set.tag_names
    tags = tag_set.encode(document).tags
    return [names[OUTSIDE if tag == IGNORE_INDEX else tag] for tag in tags]


def _find_mismatches(
    gold: Sequence[Document], predicted: Sequence[Prediction]
) -> list[tuple[Document, SpanMismatch]]:
    return [
        (document, mismatch)
        for document, prediction in zip(gold, predicted, strict=True)
        for mismatch in find_mismatches(document.spans, prediction.spans)
    ]


def _compute_efforts(gold: Sequence[Document], predicted: Sequence[Prediction]) -> list[EditEffort]:
    return [
        compute_edit_effort(document.spans, prediction.spans)
        for document, prediction in zip(gold, predicted, strict=True)
    ]


def _worst_documents(
    gold: Sequence[Document],
    predicted: Sequence[Prediction],
    efforts_by_document: Sequence[EditEffort],
) -> list[DocumentView]:
    views = [
        DocumentView(
            document_id=document.id,
            text=document.text,
            gold=tuple(document.spans),
            predicted=tuple(prediction.spans),
            edit_actions=effort.total_actions,
        )
        for document, prediction, effort in zip(gold, predicted, efforts_by_document, strict=True)
        if effort.total_actions
    ]
    return sorted(views, key=lambda view: -view.edit_actions)


def _all_labels(
    gold: Sequence[Document], predicted: Sequence[Prediction], known: Sequence[str]
) -> list[str]:
    used = {span.label for document in gold for span in document.spans}
    used |= {span.label for prediction in predicted for span in prediction.spans}
    return [*known, *sorted(used - set(known))]


def _dropped_by_flat_bio(gold: Sequence[Document]) -> list[DroppedAnnotation]:
    labels = tuple(sorted({span.label for document in gold for span in document.spans}))
    if not labels:
        return []
    tag_set = TagSet(labels)
    return [entry for document in gold for entry in tag_set.encode(document).dropped]


def _unknown_labels(gold: Sequence[Document], known: Sequence[str] | None) -> dict[str, int]:
    if known is None:
        return {}
    used = Counter(span.label for document in gold for span in set(document.spans))
    return {label: times for label, times in used.most_common() if label not in known}


def _warnings(
    gold: Sequence[Document],
    predicted: Sequence[Prediction],
    *,
    flat: Sequence[DroppedAnnotation],
    unknown: Mapping[str, int],
) -> Iterator[str]:
    entities = sum(len(set(document.spans)) for document in gold)
    if not entities:
        yield "Gold has no entities: recall and F1 are undefined, and all predictions are spurious."
    if unknown:
        yield (
            "The model does not have these gold labels, so all their spans are missed: "
            f"{_format_label_counts(unknown)}."
        )
    extra_labels = Counter(span.label for one in predicted for span in one.spans)
    for document in gold:
        for span in document.spans:
            del extra_labels[span.label]
    if entities and extra_labels:
        yield (
            "Gold does not have these labels, so all their spans are spurious: "
            f"{_format_label_counts(extra_labels)}."
        )
    if flat:
        yield (
            f"{len(flat)} of {entities} gold entities do not fit flat BIO, one tag per word. They "
            "stay in gold and count as missed."
        )
    if in_masked_ranges := _count_in_masked_ranges(gold, predicted):
        yield (
            f"{in_masked_ranges} predicted entities are in ranges of unknown truth "
            "(regions outvoted or without a label) and count as spurious: the "
            "shown precision is a lower bound."
        )
    outside = sum(
        entry.reason == "offset outside the text" for one in predicted for entry in one.dropped
    )
    if outside:
        yield (
            f"{outside} predicted entities are outside their text and are excluded: check that "
            "offsets count code points of the same text."
        )
    if len(gold) < MIN_DOCUMENTS_FOR_INTERVALS:
        yield f"Intervals are rough: there are only {len(gold)} documents."


def _count_in_masked_ranges(gold: Sequence[Document], predicted: Sequence[Prediction]) -> int:
    return sum(
        any(span.start < end and start < span.end for start, end in document.masked_ranges)
        for document, prediction in zip(gold, predicted, strict=True)
        for span in set(prediction.spans) - set(document.spans)
    )


def _format_label_counts(labels: Mapping[str, int]) -> str:
    return ", ".join(f"{label} ({times})" for label, times in labels.items())
