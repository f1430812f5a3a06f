"""Pair gold documents with the predictions of one or more systems, by document id."""

from collections import Counter
from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass, replace
from itertools import chain

from tagalong.backend.label_studio.label_map import LabelMap
from tagalong.ner.document import Document, DroppedAnnotation, Prediction
from tagalong.ner.errors import InputError, LabelError

MAX_LISTED_IDS = 5  # ids in a message


@dataclass(frozen=True, slots=True)
class SystemOutput:
    """Predictions of one system."""

    name: str  # file or model, for messages
    predictions_by_document: Sequence[tuple[Document, Prediction]]  # in any order
    labels: tuple[str, ...] | None = None  # of the model; None if only predictions are known


@dataclass(frozen=True, slots=True)
class AlignedDocuments:
    """Gold documents with the predictions to evaluate."""

    gold: tuple[Document, ...]
    predicted: tuple[tuple[Prediction, ...], ...]  # one tuple per system, in the order of `gold`
    dropped: tuple[DroppedAnnotation, ...] = ()  # gold annotations that are not evaluated
    excluded_documents: int = 0  # that gold or a system lacks


def align_predictions(
    gold: Sequence[Document], outputs: Sequence[SystemOutput], *, only_common_documents: bool
) -> AlignedDocuments:
    """Find each system's prediction for every gold document, by id and identical text.

    With `only_common_documents`, documents that gold or a system lacks are excluded.

    Raises:
        InputError: If gold or a system is empty, repeats an id, lacks a document, or has another
            text.
    """
    _check_unique_ids([document.id for document in gold], "gold")
    common = list(gold)
    predictions_by_id = []
    for output in outputs:
        by_id = {pair[0].id: pair for pair in output.predictions_by_document}
        _check_unique_ids([pair[0].id for pair in output.predictions_by_document], output.name)
        if not only_common_documents:
            _check_same_documents({document.id for document in gold}, by_id.keys(), output.name)
        predictions_by_id.append(by_id)
        common = [document for document in common if document.id in by_id]
        if not common:
            raise InputError(
                f"gold and {output.name} have no document in common: gold has "
                f"{_format_ids([gold[0].id])}, {output.name} has "
                f"{_format_ids([output.predictions_by_document[0][0].id])}; use the same ids",
                code="documents-differ",
            )
    for document in common:
        for output, by_id in zip(outputs, predictions_by_id, strict=True):
            _check_same_text(document, by_id[document.id][0], output.name)
    predicted = (tuple(by_id[document.id][1] for document in common) for by_id in predictions_by_id)
    all_ids = {document.id for document in gold}.union(*predictions_by_id)
    return AlignedDocuments(
        tuple(common), tuple(predicted), excluded_documents=len(all_ids) - len(common)
    )


def _check_unique_ids(ids: Sequence[str], name: str) -> None:
    if not ids:
        raise InputError(
            f"{name} has no documents: give documents to evaluate", code="no-documents"
        )
    repeated = [one for one, times in Counter(ids).items() if times > 1]
    if repeated:
        raise InputError(
            f"{name} has {len(repeated)} ids more than once: {_format_ids(repeated)}; "
            "give each document its own id",
            code="repeated-document-id",
        )


def _check_same_documents(gold: Set[str], predicted: Set[str], name: str) -> None:
    for lacking, missing in ((name, gold - predicted), ("gold", predicted - gold)):
        if missing:
            raise InputError(
                f"{lacking} lacks {len(missing)} documents that the other file has: "
                f"{_format_ids(missing)}; add them, or use --only-common",
                code="documents-differ",
            )


def _check_same_text(gold: Document, predicted: Document, name: str) -> None:
    if gold.text == predicted.text:
        return
    pairs = enumerate(zip(gold.text, predicted.text, strict=False))
    shorter = min(len(gold.text), len(predicted.text))
    at = next((place for place, (one, other) in pairs if one != other), shorter)
    raise InputError(
        f"document {gold.id!r} has another text in {name} than in gold: from position {at} it "
        f"is {predicted.text[at : at + 20]!r} instead of {gold.text[at : at + 20]!r}; predict "
        "the unchanged texts of the gold file",
        code="documents-differ",
    )


def _format_ids(ids: Collection[str]) -> str:
    shown = ", ".join(repr(one) for one in sorted(ids)[:MAX_LISTED_IDS])
    return shown if len(ids) <= MAX_LISTED_IDS else f"{shown} and {len(ids) - MAX_LISTED_IDS} more"


def filter_labels(aligned: AlignedDocuments, labels: Collection[str]) -> AlignedDocuments:
    """Remove spans of other labels from gold and predictions; they count as dropped.

    Raises:
        LabelError: If gold and predictions lack one of the labels.
    """
    kept_labels = LabelMap({label: label for label in labels})  # maps no other label
    annotated = [Prediction(document.spans, 1.0, "gold") for document in aligned.gold]
    gold, *predicted = (
        tuple(map(kept_labels.apply, aligned.gold, spans))
        for spans in (annotated, *aligned.predicted)
    )
    found = {span.label for one in chain(gold, *predicted) for span in one.spans}
    if unused := set(labels) - found:
        raise LabelError(
            f"no span in gold or predictions has the label {', '.join(sorted(unused))}: check its "
            "spelling",
            code="label-without-spans",
        )
    return AlignedDocuments(
        tuple(
            replace(document, spans=kept.spans)
            for document, kept in zip(aligned.gold, gold, strict=True)
        ),
        tuple(predicted),
        (*aligned.dropped, *chain.from_iterable(one.dropped for one in gold)),
        aligned.excluded_documents,
    )
