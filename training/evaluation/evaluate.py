"""Gold documents and what was predicted for them, judged: a `EvaluationReport`; and the score of dev."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from seqeval.metrics import f1_score
from seqeval.scheme import IOB2

from tagalong.ner.document import Document, DroppedAnnotation, Prediction
from tagalong.ner.errors import InputError
from tagalong.ner.tags import IGNORE_INDEX, OUTSIDE, TagSet
from tagalong.training.evaluation.bootstrap import DEFAULT_RESAMPLES
from tagalong.training.evaluation.calibration import compute_calibration
from tagalong.training.evaluation.counts import (
    LENGTH_COLUMNS,
    TOTAL_INDEX,
    compare_systems,
    count_system,
    stratum_scores,
)
from tagalong.training.evaluation.edit_effort import EditEffort, compute_edit_effort
from tagalong.training.evaluation.error_types import SpanMismatch, find_mismatches, summarize_errors
from tagalong.training.evaluation.report import DocumentView, EvaluationReport, summarize_dropped

MIN_DOCUMENTS_FOR_INTERVALS = 20  # below this the bootstrap has too little to draw from


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """How to judge.

    Attributes:
        labels: What the model can say, in its order; None where that is not known.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
        max_examples_per_type: How many mistakes of each kind, and losses of each reason, to show.
        max_worst_documents: How many documents to show whole, at most.
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
    """Judge predictions.

    Args:
        gold: Documents with what is right; all of it counts, also what flat BIO cannot hold.
        predicted: What was said about each, in the same order.
        source: Where gold comes from, for the report.
        against: What another system said about each, in the same order.
        dropped: What reading gold could not keep.
        options: None for the defaults.

    Returns:
        The report.

    Raises:
        InputError: If there are no documents.
    """
    if not gold:
        raise InputError("there is not one document to judge by: give a gold file that has some")
    options = options or EvaluationOptions()
    labels = _all_labels(gold, [*predicted, *(against or ())], options.labels or ())
    drawing = {"resamples": options.resamples, "seed": options.seed}
    ours = count_system(gold, predicted, labels, **drawing)
    theirs = None if against is None else count_system(gold, against, labels, **drawing)
    mistakes, efforts = _find_mismatches(gold, predicted), _compute_efforts(gold, predicted)
    flat, unsaid = _dropped_by_flat_bio(gold), [entry for one in predicted for entry in one.dropped]
    unknown = _unknown_labels(gold, options.labels)
    rows = {label: row for row, label in enumerate(labels, start=1)}
    return EvaluationReport(
        model=ours.version,
        gold=source,
        documents=len(gold),
        overall=stratum_scores(ours, TOTAL_INDEX, TOTAL_INDEX),
        by_label={label: stratum_scores(ours, row, TOTAL_INDEX) for label, row in rows.items()},
        by_length={
            length: stratum_scores(ours, TOTAL_INDEX, column)
            for length, column in LENGTH_COLUMNS.items()
        },
        by_label_and_length={
            label: {
                length: stratum_scores(ours, row, column)
                for length, column in LENGTH_COLUMNS.items()
            }
            for label, row in rows.items()
        },
        dropped_by_flat_bio=summarize_dropped(flat, examples=options.max_examples_per_type),
        dropped_on_import=summarize_dropped(dropped, examples=options.max_examples_per_type),
        dropped_predictions=summarize_dropped(unsaid, examples=options.max_examples_per_type),
        errors_by_type=summarize_errors(
            [
                (document, mistake)
                for document, made in zip(gold, mistakes, strict=True)
                for mistake in made
            ],
            examples=options.max_examples_per_type,
        ),
        effort=sum(efforts, EditEffort()),
        worst_documents=tuple(
            _worst_documents(gold, predicted, efforts)[: options.max_worst_documents]
        ),
        calibration=compute_calibration(gold, predicted),
        comparison=None
        if theirs is None or against is None
        else compare_systems(
            ours, theirs, labels, effort=sum(_compute_efforts(gold, against), EditEffort())
        ),
        unknown_labels=unknown,
        warnings=tuple(_warnings(gold, predicted, flat=flat, unknown=unknown)),
        resamples=options.resamples,
        seed=options.seed,
    )


def compute_dev_strict_f1(
    documents: Sequence[Document], predictions: Sequence[Prediction], tag_set: TagSet
) -> float:
    """Strict F1 as seqeval computes it, over word tags: what training stops on.

    Both sides are written as tags first, so gold spans that flat BIO cannot hold are not there to
    be missed, as they are in `evaluate`; their words count as O.

    Args:
        documents: Gold.
        predictions: What was said about each, in the same order.
        tag_set: The tags of the model.

    Returns:
        F1 of seqeval's strict mode under IOB2, 0.0 where there is nothing to find.
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
    """A document's tags by name, O where the truth is unknown."""
    names = tag_set.tag_names
    tags = tag_set.encode(document).tags
    return [names[OUTSIDE if tag == IGNORE_INDEX else tag] for tag in tags]


def _find_mismatches(
    gold: Sequence[Document], predicted: Sequence[Prediction]
) -> list[Sequence[SpanMismatch]]:
    """What is wrong with each document."""
    return [
        find_mismatches(document.spans, prediction.spans)
        for document, prediction in zip(gold, predicted, strict=True)
    ]


def _compute_efforts(gold: Sequence[Document], predicted: Sequence[Prediction]) -> list[EditEffort]:
    """What it takes to put each document right."""
    return [
        compute_edit_effort(document.spans, prediction.spans)
        for document, prediction in zip(gold, predicted, strict=True)
    ]


def _worst_documents(
    gold: Sequence[Document],
    predicted: Sequence[Prediction],
    efforts: Sequence[EditEffort],
) -> list[DocumentView]:
    """The documents that are not all right, those that take most actions first."""
    readings = [
        DocumentView(
            document_id=document.id,
            text=document.text,
            gold=tuple(document.spans),
            predicted=tuple(prediction.spans),
            edit_actions=effort.total_actions,
        )
        for document, prediction, effort in zip(gold, predicted, efforts, strict=True)
        if effort.total_actions
    ]
    return sorted(readings, key=lambda reading: -reading.edit_actions)


def _all_labels(
    gold: Sequence[Document], predicted: Sequence[Prediction], known: Sequence[str]
) -> list[str]:
    """Every label there is: the model's in its order, then others by name."""
    used = {span.label for document in gold for span in document.spans}
    used |= {span.label for prediction in predicted for span in prediction.spans}
    return [*known, *sorted(used - set(known))]


def _dropped_by_flat_bio(gold: Sequence[Document]) -> list[DroppedAnnotation]:
    """Gold spans that one tag per word cannot hold."""
    labels = tuple(sorted({span.label for document in gold for span in document.spans}))
    if not labels:
        return []
    tag_set = TagSet(labels)
    return [entry for document in gold for entry in tag_set.encode(document).dropped]


def _unknown_labels(gold: Sequence[Document], known: Sequence[str] | None) -> dict[str, int]:
    """Gold labels that the model does not have, the most frequent first."""
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
    """What a reader must know before trusting the figures, one sentence each."""
    entities = sum(len(set(document.spans)) for document in gold)
    if not entities:
        yield "Gold has no entities: recall and F1 say nothing, and every prediction is spurious."
    if unknown:
        yield f"The model does not have these gold labels, so all are missed: {_format_label_counts(unknown)}."
    foreign = Counter(span.label for one in predicted for span in one.spans)
    for document in gold:
        for span in document.spans:
            del foreign[span.label]
    if entities and foreign:
        yield f"Gold never has these labels, so all their spans are spurious: {_format_label_counts(foreign)}."
    if flat:
        yield (
            f"{len(flat)} of {entities} gold entities do not fit flat BIO, one tag per word. They "
            "stay in gold: a tagger of words must miss them."
        )
    if unclear := _count_in_masked_ranges(gold, predicted):
        yield (
            f"{unclear} predicted entities lie where the truth is not known (regions outvoted or "
            "without a label) and count as spurious: precision is at least what is shown."
        )
    outside = sum(
        entry.reason == "offset outside the text" for one in predicted for entry in one.dropped
    )
    if outside:
        yield (
            f"{outside} predicted entities lie outside their text and are left out: check that "
            "offsets count code points of the very text that is judged."
        )
    if len(gold) < MIN_DOCUMENTS_FOR_INTERVALS:
        yield f"Intervals are rough: there are only {len(gold)} documents to draw from."


def _count_in_masked_ranges(gold: Sequence[Document], predicted: Sequence[Prediction]) -> int:
    """How many predicted spans are not in gold but touch a stretch that may or may not hold one."""
    return sum(
        any(span.start < end and start < span.end for start, end in document.masked_ranges)
        for document, prediction in zip(gold, predicted, strict=True)
        for span in set(prediction.spans) - set(document.spans)
    )


def _format_label_counts(labels: Mapping[str, int]) -> str:
    """Labels and how often each occurs, in words."""
    return ", ".join(f"{label} ({times})" for label, times in labels.items())
