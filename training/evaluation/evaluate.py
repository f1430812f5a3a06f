"""Evaluate predictions against a gold standard, and score a development set."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from seqeval.metrics import f1_score
from seqeval.scheme import IOB2

from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.document import Document, DroppedAnnotation, Prediction
from tagalong.ner.errors import InputError
from tagalong.ner.length_buckets import LengthUnit
from tagalong.ner.tags import TagSet
from tagalong.training.evaluation.bootstrap import DEFAULT_RESAMPLES
from tagalong.training.evaluation.calibration import compute_calibration
from tagalong.training.evaluation.counts import compare_systems, count_system
from tagalong.training.evaluation.edit_effort import EditEffort, compute_edit_effort
from tagalong.training.evaluation.error_types import summarize_errors
from tagalong.training.evaluation.label_names import format_label_counts
from tagalong.training.evaluation.report import DocumentView, EvaluationReport, summarize_dropped

MIN_DOCUMENTS_FOR_INTERVALS = 20  # below it, bootstrap intervals are unreliable
MAX_WORST_DOCUMENTS = 10  # shown in full


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """Settings of an evaluation."""

    labels: tuple[str, ...] | None = None  # of the model, in its order; None if unknown
    resamples: int = DEFAULT_RESAMPLES
    seed: int = 0  # of the bootstrap
    max_examples_per_type: int = 5  # of errors, and per reason of dropped annotations
    length_unit: LengthUnit = "words"  # of the lengths of entities


DEFAULT_OPTIONS = EvaluationOptions()


def evaluate(
    gold: Sequence[Document],
    predicted: Sequence[Prediction],
    *,
    source: str = "",
    against: Sequence[Prediction] | None = None,
    dropped: Sequence[DroppedAnnotation] = (),
    options: EvaluationOptions = DEFAULT_OPTIONS,
) -> EvaluationReport:
    """Evaluate predictions against gold documents.

    Args:
        gold: Gold documents; all their spans count, including those that flat BIO cannot represent.
        predicted: Predictions in the order of `gold`.
        source: Name of the gold standard in the report.
        against: Predictions of a second system, in the same order.
        dropped: Annotations that were dropped while reading gold.
        options: Settings.

    Raises:
        InputError: If there are no documents.
    """
    if not gold:
        raise InputError(
            "there are no gold documents: give a gold file with documents",
            code="gold-without-documents",
        )
    gold_labels = Counter(span.label for document in gold for span in set(document.spans))
    labels = _all_labels(options.labels or (), gold_labels, [*predicted, *(against or ())])
    unknown = {} if options.labels is None else _count_others(gold_labels, options.labels)
    flat = _dropped_by_flat_bio(gold, gold_labels)
    efforts = _compute_efforts(gold, predicted)
    unit = options.length_unit
    count = partial(count_system, gold, resamples=options.resamples, seed=options.seed, unit=unit)
    summarize = partial(summarize_dropped, examples=options.max_examples_per_type)
    first = count(predicted, labels)
    return EvaluationReport(
        model=first.version,
        gold=source,
        documents=len(gold),
        overall=first.scores(),
        by_label={label: first.scores(label) for label in labels},
        by_length=first.scores_by_length(),
        by_label_and_length={label: first.scores_by_length(label) for label in labels},
        dropped_by_flat_bio=summarize(flat),
        dropped_on_import=summarize(dropped),
        dropped_predictions=summarize([entry for one in predicted for entry in one.dropped]),
        errors_by_type=summarize_errors(gold, predicted, examples=options.max_examples_per_type),
        effort=sum(efforts, EditEffort()),
        worst_documents=_worst_documents(gold, predicted, efforts),
        calibration=compute_calibration(gold, predicted),
        comparison=None
        if against is None
        else compare_systems(first, count(against, labels), _sum_efforts(gold, against)),
        unknown_labels=unknown,
        warnings=tuple(_warnings(gold, predicted, gold_labels, unknown, len(flat))),
        resamples=options.resamples,
        seed=options.seed,
        length_unit=unit,
    )


def compute_dev_strict_f1(
    documents: Sequence[Document], predictions: Sequence[Prediction], tag_set: TagSet
) -> float:
    """Compute strict F1 over word tags with seqeval: the criterion of early stopping.

    Gold is encoded as tags first, so spans that flat BIO cannot represent are absent here, whereas
    `evaluate` counts them as missed. Their words count as O.

    Returns F1 in seqeval's strict mode under IOB2; 0.0 if there are no entities.
    """
    if not documents:
        return 0.0  # seqeval fails on no sequences
    gold, predicted = [], []
    for document, prediction in zip(documents, predictions, strict=True):
        answered = Document(document.id, document.text, prediction.spans)  # without masked ranges
        gold.append(tag_set.to_names(tag_set.encode(document).tags))
        predicted.append(tag_set.to_names(tag_set.encode(answered).tags))
    return float(f1_score(gold, predicted, mode="strict", scheme=IOB2, zero_division=0))


def _compute_efforts(gold: Sequence[Document], predicted: Sequence[Prediction]) -> list[EditEffort]:
    return [
        compute_edit_effort(document.spans, prediction.spans)
        for document, prediction in zip(gold, predicted, strict=True)
    ]


def _sum_efforts(gold: Sequence[Document], predicted: Sequence[Prediction]) -> EditEffort:
    return sum(_compute_efforts(gold, predicted), EditEffort())


def _worst_documents(
    gold: Sequence[Document], predicted: Sequence[Prediction], efforts: Sequence[EditEffort]
) -> tuple[DocumentView, ...]:
    views = [
        DocumentView(one.id, one.text, one.spans, tuple(prediction.spans), effort.total_actions)
        for one, prediction, effort in zip(gold, predicted, efforts, strict=True)
        if effort.total_actions
    ]
    return tuple(sorted(views, key=lambda view: -view.actions)[:MAX_WORST_DOCUMENTS])


def _all_labels(
    known: Sequence[str], gold_labels: Collection[str], predicted: Sequence[Prediction]
) -> list[str]:
    """Labels of the model in its order, then the others by name."""
    used = {*gold_labels, *(span.label for prediction in predicted for span in prediction.spans)}
    return [*known, *sorted(used.difference(known))]


def _dropped_by_flat_bio(
    gold: Sequence[Document], labels: Collection[str]
) -> list[DroppedAnnotation]:
    if not labels:
        return []  # a tag set needs a label
    tag_set = TagSet(tuple(sorted(labels)))
    return [entry for document in gold for entry in tag_set.encode(document).dropped]


def _count_others(counts: Counter[str], labels: Collection[str]) -> dict[str, int]:
    """Counts of other labels than these, most frequent first."""
    return {label: times for label, times in counts.most_common() if label not in labels}


def _warnings(
    gold: Sequence[Document],
    predicted: Sequence[Prediction],
    gold_labels: Counter[str],
    unknown: Mapping[str, int],
    not_flat: int,
) -> Iterator[str]:
    entities = gold_labels.total()
    if not entities:
        yield "Gold has no entities: recall and F1 are undefined, and all predictions are spurious."
    if unknown:
        yield (
            "The model does not have these gold labels, so all their spans are missed: "
            f"{format_label_counts(unknown)}."
        )
    predicted_labels = Counter(span.label for one in predicted for span in one.spans)
    extra_labels = {
        label: times for label, times in predicted_labels.items() if label not in gold_labels
    }
    if entities and extra_labels:
        yield (
            "Gold does not have these labels, so all their spans are spurious: "
            f"{format_label_counts(extra_labels)}."
        )
    if not_flat:
        yield (
            f"{not_flat} of {pluralize(entities, 'gold entity')} "
            f"{'does' if not_flat == 1 else 'do'} not fit flat BIO, one tag per word of the "
            "default rule. They stay in gold, and count as missed unless predicted."
        )
    if in_masked_ranges := _count_in_masked_ranges(gold, predicted):
        yield (
            f"{pluralize(in_masked_ranges, 'predicted entity is', 'predicted entities are')} in "
            "ranges of unknown truth "
            "(regions outvoted or without a label) and count as spurious: the "
            "shown precision is a lower bound."
        )
    outside = sum(
        entry.reason == "offset outside the text" for one in predicted for entry in one.dropped
    )
    if outside:
        yield (
            f"{pluralize(outside, 'predicted entity')} outside the text "
            f"{'is' if outside == 1 else 'are'} excluded: check that "
            "offsets count code points of the same text."
        )
    if len(gold) < MIN_DOCUMENTS_FOR_INTERVALS:
        yield f"Intervals are rough: gold has only {pluralize(len(gold), 'document')}."


def _count_in_masked_ranges(gold: Sequence[Document], predicted: Sequence[Prediction]) -> int:
    """Number of spurious predictions that overlap ranges of unknown truth."""
    return sum(
        any(span.start < end and start < span.end for start, end in document.masked_ranges)
        for document, prediction in zip(gold, predicted, strict=True)
        for span in set(prediction.spans) - set(document.spans)
    )
