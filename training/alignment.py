"""Gold documents and what systems answered, side by side: the same documents in the same order."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from ner.document import Document, Lost, Prediction, Span
from ner.errors import InputError, LabelError

NAMED = 5  # how many ids a message names


@dataclass(frozen=True, slots=True)
class Answers:
    """What one system said.

    Attributes:
        name: What to call it in messages: a file, or a model.
        pairs: Documents, in any order, and the prediction for each.
        labels: What the system can say; None where only its predictions are known.
    """

    name: str
    pairs: Sequence[tuple[Document, Prediction]]
    labels: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """What is ready to be judged.

    Attributes:
        gold: Documents with what is right.
        predicted: For each system, what it said about each document, in the order of gold.
        lost: Gold annotations that are not judged.
        left_out: How many documents are not judged, because not everyone has them.
    """

    gold: tuple[Document, ...]
    predicted: tuple[tuple[Prediction, ...], ...]
    lost: tuple[Lost, ...] = ()
    left_out: int = 0


def align(gold: Sequence[Document], systems: Sequence[Answers], *, only_common: bool) -> Case:
    """Find every system's prediction for every gold document: the same id, the very same text.

    Args:
        gold: Documents to judge by.
        systems: One or more.
        only_common: Whether to leave out documents that not all of them have.

    Returns:
        Gold documents in their order, with the predictions.

    Raises:
        InputError: If a side is empty, has an id twice, lacks a document of the other, or the text
            of a document differs.
    """
    _check_ids([document.id for document in gold], "gold")
    common = list(gold)
    tables = []
    for system in systems:
        _check_ids([document.id for document, _ in system.pairs], system.name)
        by_id = {document.id: (document, prediction) for document, prediction in system.pairs}
        tables.append(by_id)
        if not only_common:
            _check_complete(gold, by_id, system.name)
        common = [document for document in common if document.id in by_id]
        if not common:
            raise InputError(
                f"gold and {system.name} share no document: gold has {_named([gold[0].id])}, "
                f"{system.name} has {_named([system.pairs[0][0].id])}; give both the same ids"
            )
    for document in common:
        for system, by_id in zip(systems, tables, strict=True):
            _check_text(document, by_id[document.id][0], system.name)
    predicted = (tuple(by_id[document.id][1] for document in common) for by_id in tables)
    everyone = {document.id for document in gold}.union(*tables)
    return Case(tuple(common), tuple(predicted), left_out=len(everyone) - len(common))


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


def _check_complete(gold: Sequence[Document], answered: Collection[str], name: str) -> None:
    """Refuse documents that only one side has."""
    ids = {document.id for document in gold}
    for lacking, missing in ((name, ids - set(answered)), ("gold", set(answered) - ids)):
        if missing:
            raise InputError(
                f"{lacking} lacks {len(missing)} documents that the other side has: "
                f"{_named(missing)}; complete it, or judge only what both have (--only-common)"
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


def _named(ids: Collection[str]) -> str:
    """The first few ids in words."""
    shown = ", ".join(repr(one) for one in sorted(ids)[:NAMED])
    return shown if len(ids) <= NAMED else f"{shown} and {len(ids) - NAMED} more"


def keep_labels(case: Case, labels: Collection[str]) -> Case:
    """Leave out spans of all other labels, on every side.

    Args:
        case: Anything.
        labels: Those to keep.

    Returns:
        The case, its `lost` and that of its predictions grown by what is left out.

    Raises:
        LabelError: If one of the labels is nowhere in the case.
    """
    documents, lost = [], list(case.lost)
    for document in case.gold:
        kept, left_out = _sort_out(document, document.spans, labels)
        documents.append(replace(document, spans=kept))
        lost += left_out
    predicted = tuple(_keep_predicted(case.gold, one, labels) for one in case.predicted)
    found = {span.label for document in documents for span in document.spans}
    found |= {span.label for one in chain(*predicted) for span in one.spans}
    nowhere = set(labels) - found
    if nowhere:
        raise LabelError(
            f"nothing has the label {', '.join(sorted(nowhere))}, neither in gold nor among the "
            "predictions: check its spelling"
        )
    return Case(tuple(documents), predicted, tuple(lost), case.left_out)


def _keep_predicted(
    gold: Sequence[Document], predicted: Sequence[Prediction], labels: Collection[str]
) -> tuple[Prediction, ...]:
    """One system's predictions without other labels; what is left out is among their losses."""
    predictions = []
    for document, prediction in zip(gold, predicted, strict=True):
        kept, left_out = _sort_out(document, prediction.spans, labels)
        predictions.append(replace(prediction, spans=kept, lost=(*prediction.lost, *left_out)))
    return tuple(predictions)


def _sort_out(
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
