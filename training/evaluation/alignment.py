"""Gold documents and what systems answered, side by side: the same documents in the same order."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from tagalong.ner.document import Document, DroppedAnnotation, Prediction, Span
from tagalong.ner.errors import InputError, LabelError

MAX_LISTED_IDS = 5  # how many ids a message names


@dataclass(frozen=True, slots=True)
class SystemOutput:
    """What one system said.

    Attributes:
        name: What to call it in messages: a file, or a model.
        predictions_by_document: Documents, in any order, and the prediction for each.
        labels: What the system can say; None where only its predictions are known.
    """

    name: str
    predictions_by_document: Sequence[tuple[Document, Prediction]]
    labels: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class AlignedDocuments:
    """What is ready to be judged.

    Attributes:
        gold: Documents with what is right.
        predicted: For each system, what it said about each document, in the order of gold.
        dropped: Gold annotations that are not judged.
        excluded_documents: How many documents are not judged, because not everyone has them.
    """

    gold: tuple[Document, ...]
    predicted: tuple[tuple[Prediction, ...], ...]
    dropped: tuple[DroppedAnnotation, ...] = ()
    excluded_documents: int = 0


def align_predictions(
    gold: Sequence[Document], outputs: Sequence[SystemOutput], *, only_common_documents: bool
) -> AlignedDocuments:
    """Find every system's prediction for every gold document: the same id, the very same text.

    Args:
        gold: Documents to judge by.
        outputs: One or more.
        only_common_documents: Whether to leave out documents that not all of them have.

    Returns:
        Gold documents in their order, with the predictions.

    Raises:
        InputError: If a side is empty, has an id twice, lacks a document of the other, or the text
            of a document differs.
    """
    _check_unique_ids([document.id for document in gold], "gold")
    common = list(gold)
    tables = []
    for system in outputs:
        _check_unique_ids(
            [document.id for document, _ in system.predictions_by_document], system.name
        )
        by_id = {
            document.id: (document, prediction)
            for document, prediction in system.predictions_by_document
        }
        tables.append(by_id)
        if not only_common_documents:
            _check_same_documents(gold, by_id, system.name)
        common = [document for document in common if document.id in by_id]
        if not common:
            raise InputError(
                f"gold and {system.name} share no document: gold has {_format_ids([gold[0].id])}, "
                f"{system.name} has {_format_ids([system.predictions_by_document[0][0].id])}; give both the same ids"
            )
    for document in common:
        for system, by_id in zip(outputs, tables, strict=True):
            _check_same_text(document, by_id[document.id][0], system.name)
    predicted = (tuple(by_id[document.id][1] for document in common) for by_id in tables)
    everyone = {document.id for document in gold}.union(*tables)
    return AlignedDocuments(
        tuple(common), tuple(predicted), excluded_documents=len(everyone) - len(common)
    )


def _check_unique_ids(ids: Sequence[str], name: str) -> None:
    """Refuse a side that has no documents, or one of them twice."""
    if not ids:
        raise InputError(f"{name} has not one document: nothing can be judged")
    twice = [one for one, times in Counter(ids).items() if times > 1]
    if twice:
        raise InputError(
            f"{name} has {len(twice)} ids more than once: {_format_ids(twice)}; give each document "
            "an id of its own"
        )


def _check_same_documents(gold: Sequence[Document], answered: Collection[str], name: str) -> None:
    """Refuse documents that only one side has."""
    ids = {document.id for document in gold}
    for lacking, missing in ((name, ids - set(answered)), ("gold", set(answered) - ids)):
        if missing:
            raise InputError(
                f"{lacking} lacks {len(missing)} documents that the other side has: "
                f"{_format_ids(missing)}; complete it, or judge only what both have (--only-common)"
            )


def _check_same_text(gold: Document, predicted: Document, name: str) -> None:
    """Refuse a text that is not the one judged by: offsets would point elsewhere."""
    if gold.text == predicted.text:
        return
    pairs = enumerate(zip(gold.text, predicted.text, strict=False))
    shorter = min(len(gold.text), len(predicted.text))
    at = next((place for place, (one, other) in pairs if one != other), shorter)
    raise InputError(
        f"the text of document {gold.id!r} in {name} is not that of gold: from position {at} it "
        f"reads {predicted.text[at : at + 20]!r} instead of {gold.text[at : at + 20]!r}; predict "
        "the gold file's own texts, unchanged"
    )


def _format_ids(ids: Collection[str]) -> str:
    """The first few ids in words."""
    shown = ", ".join(repr(one) for one in sorted(ids)[:MAX_LISTED_IDS])
    return shown if len(ids) <= MAX_LISTED_IDS else f"{shown} and {len(ids) - MAX_LISTED_IDS} more"


def filter_labels(aligned: AlignedDocuments, labels: Collection[str]) -> AlignedDocuments:
    """Leave out spans of all other labels, on every side.

    Args:
        aligned: Anything.
        labels: Those to keep.

    Returns:
        The case, its `lost` and that of its predictions grown by what is left out.

    Raises:
        LabelError: If one of the labels is nowhere in the case.
    """
    documents, lost = [], list(aligned.dropped)
    for document in aligned.gold:
        kept, left_out = _split_by_label(document, document.spans, labels)
        documents.append(replace(document, spans=kept))
        lost += left_out
    predicted = tuple(_filter_predictions(aligned.gold, one, labels) for one in aligned.predicted)
    found = {span.label for document in documents for span in document.spans}
    found |= {span.label for one in chain(*predicted) for span in one.spans}
    nowhere = set(labels) - found
    if nowhere:
        raise LabelError(
            f"nothing has the label {', '.join(sorted(nowhere))}, neither in gold nor among the "
            "predictions: check its spelling"
        )
    return AlignedDocuments(tuple(documents), predicted, tuple(lost), aligned.excluded_documents)


def _filter_predictions(
    gold: Sequence[Document], predicted: Sequence[Prediction], labels: Collection[str]
) -> tuple[Prediction, ...]:
    """One system's predictions without other labels; what is left out is among their losses."""
    predictions = []
    for document, prediction in zip(gold, predicted, strict=True):
        kept, left_out = _split_by_label(document, prediction.spans, labels)
        predictions.append(
            replace(prediction, spans=kept, dropped=(*prediction.dropped, *left_out))
        )
    return tuple(predictions)


def _split_by_label(
    document: Document, spans: Iterable[Span], labels: Collection[str]
) -> tuple[tuple[Span, ...], list[DroppedAnnotation]]:
    """Spans of the labels to keep, and the others as lost."""
    kept, lost = [], []
    for span in spans:
        if span.label in labels:
            kept.append(span)
        else:
            text = document.span_text(span)
            entry = DroppedAnnotation(
                span.label, text, "label unknown", span.start, span.end, document.id
            )
            lost.append(entry)
    return tuple(kept), lost
