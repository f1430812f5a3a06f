"""Predictions brought into the order of the gold documents they belong to."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from ner.document import Document, Lost, Prediction, Span
from ner.errors import InputError

NAMED = 5  # how many ids a message names


def align(
    gold: Sequence[Document],
    predicted: Iterable[tuple[Document, Prediction]],
    *,
    name: str = "predictions",
    only_common: bool = False,
) -> tuple[list[Document], list[Prediction]]:
    """Find the prediction of every gold document: the same id, and the very same text.

    Args:
        gold: Documents to judge by.
        predicted: Predictions and what they were made for, in any order.
        name: What to call the predictions in messages.
        only_common: Whether to leave out documents that only one side has.

    Returns:
        Gold documents in their order, and the prediction of each.

    Raises:
        InputError: If a side is empty, has an id twice, lacks a document of the other, or the text
            of a document differs.
    """
    pairs = list(predicted)
    by_id = {document.id: (document, prediction) for document, prediction in pairs}
    gold_ids = [document.id for document in gold]
    _check_ids(gold_ids, "gold")
    _check_ids([document.id for document, _ in pairs], name)
    missing = [one for one in gold_ids if one not in by_id]
    extra = list(by_id.keys() - set(gold_ids))
    if len(missing) == len(gold):
        raise InputError(
            f"gold and {name} share no document: gold has {_named(missing)}, {name} has "
            f"{_named(extra)}; give both the same ids"
        )
    if (missing or extra) and not only_common:
        lacking, ids = (name, missing) if missing else ("gold", extra)
        raise InputError(
            f"{lacking} lacks {len(ids)} of the documents that the other side has: {_named(ids)}; "
            "complete it, or judge only what both have (--only-common)"
        )
    common = [document for document in gold if document.id in by_id]
    for document in common:
        _check_text(document, by_id[document.id][0], name)
    return common, [by_id[document.id][1] for document in common]


def _check_ids(ids: Sequence[str], name: str) -> None:
    """Refuse a side that has no documents, or one of them twice."""
    if not ids:
        raise InputError(f"{name} has not one document: nothing can be judged")
    twice = [one for one, times in Counter(ids).items() if times > 1]
    if twice:
        raise InputError(
            f"{name} has {len(twice)} ids more than once: {_named(twice)}; give each document "
            "an id of its own"
        )


def _check_text(gold: Document, predicted: Document, name: str) -> None:
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


def _named(ids: Sequence[str]) -> str:
    """The first few ids in words."""
    shown = ", ".join(repr(one) for one in sorted(ids)[:NAMED])
    return shown if len(ids) <= NAMED else f"{shown} and {len(ids) - NAMED} more"


def keep_labels(
    gold: Sequence[Document], predicted: Sequence[Prediction], labels: Collection[str]
) -> tuple[list[Document], list[Prediction], list[Lost]]:
    """Leave out spans of all other labels, on both sides.

    Args:
        gold: Documents.
        predicted: What was said about each, in the same order.
        labels: Those to keep.

    Returns:
        The documents, the predictions (what they lost is added to their own `lost`), and what the
        documents lost.
    """
    documents, predictions, lost = [], [], []
    for document, prediction in zip(gold, predicted, strict=True):
        kept, foreign = _sorted_out(document, document.spans, labels)
        documents.append(replace(document, spans=kept))
        lost += foreign
        kept, foreign = _sorted_out(document, prediction.spans, labels)
        predictions.append(replace(prediction, spans=kept, lost=(*prediction.lost, *foreign)))
    return documents, predictions, lost


def _sorted_out(
    document: Document, spans: Iterable[Span], labels: Collection[str]
) -> tuple[tuple[Span, ...], list[Lost]]:
    """Spans of the labels to keep, and the others as lost."""
    kept, lost = [], []
    for span in spans:
        if span.label in labels:
            kept.append(span)
        else:
            text = document.covered(span)
            entry = Lost(span.label, text, "label unknown", span.start, span.end, document.id)
            lost.append(entry)
    return tuple(kept), lost
