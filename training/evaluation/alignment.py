"""Pair gold documents with the predictions of one or more systems, by document id or text."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import chain

from tagalong.backend.documents.jsonl import is_place_of_line
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.label_map import LabelMap
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.document import Document, DroppedAnnotation, Prediction, Span
from tagalong.ner.errors import InputError, LabelError
from tagalong.ner.words import trim_to_words
from tagalong.training.corpus import find_labels_alike
from tagalong.training.evaluation.label_names import (
    describe_unmapped,
    describe_without_common_label,
    map_gold,
    map_predictions,
    map_system_labels,
)

DocumentPrediction = tuple[Document, Prediction]

MAX_LISTED_IDS = 5  # ids in a message


@dataclass(frozen=True, slots=True)
class SystemOutput:
    """Predictions of one system."""

    name: str  # file or model, for messages
    predictions_by_document: Sequence[DocumentPrediction]  # in any order
    labels: tuple[str, ...] | None = None  # of the model; None if only predictions are known
    notes: tuple[str, ...] = ()  # on the reading of a file, one sentence each


@dataclass(frozen=True, slots=True)
class AlignedDocuments:
    """Gold documents with the predictions to evaluate."""

    gold: tuple[Document, ...]
    predicted: tuple[tuple[Prediction, ...], ...]  # one tuple per system, in the order of `gold`
    dropped: tuple[DroppedAnnotation, ...] = ()  # gold annotations that are not evaluated
    excluded_documents: int = 0  # that gold or a system lacks
    notes: tuple[str, ...] = ()  # on the alignment, one sentence each


@dataclass(frozen=True, slots=True)
class _MatchedDocuments:
    """The predictions of one system for gold documents."""

    predictions_by_gold_id: Mapping[str, DocumentPrediction]
    others: tuple[Document, ...]  # that gold lacks
    note: str = ""  # of documents matched by text


def align_predictions(
    gold: Sequence[Document],
    outputs: Sequence[SystemOutput],
    *,
    only_common_documents: bool,
    config: LabelConfig | None = None,
) -> AlignedDocuments:
    """Find each system's prediction for every gold document.

    Documents have the same text, and the same id where ids agree; the others are matched by text.
    Characters outside words are trimmed from the edges of all spans, gold and predicted. With
    `only_common_documents`, documents that gold or a system lacks are excluded. `config` maps
    labels to those of the project, as in serving; spans of other labels are dropped.

    Raises:
        InputError: If gold or a system is empty, repeats an id, lacks a document, has another text,
            or has texts that match several documents.
    """
    _check_unique_ids([document.id for document in gold], "gold")
    common = list(gold)
    matches = []
    for output in outputs:
        _check_unique_ids([pair[0].id for pair in output.predictions_by_document], output.name)
        match = _match_documents(gold, output, only_common_documents=only_common_documents)
        matches.append(match)
        common = [document for document in common if document.id in match.predictions_by_gold_id]
        if not common:
            raise InputError(
                f"gold and {output.name} have no document in common: gold has "
                f"{_format_ids([gold[0].id])}, {output.name} has "
                f"{_format_ids([output.predictions_by_document[0][0].id])}; use the same ids",
                code="documents-differ",
            )
    trimmed_gold, dropped, trimmed = _trim_gold(common)
    if config is not None:
        trimmed_gold, unknown = map_gold(trimmed_gold, config)
        dropped += unknown
    predicted, trimmed_predictions = [], 0
    notes = [*chain.from_iterable(output.notes for output in outputs)]
    notes += [match.note for match in matches if match.note]
    for output, match in zip(outputs, matches, strict=True):
        pairs = [match.predictions_by_gold_id[document.id] for document in common]
        predictions, count = _trim_predictions(pairs)
        trimmed_predictions += count
        notes += _describe_labels(output, trimmed_gold, predictions, config)
        if config is not None:
            predictions = map_predictions(trimmed_gold, predictions, config)
        predicted.append(predictions)
    notes += _describe_trimming(trimmed, trimmed_predictions)
    others = {(one.id, one.text) for match in matches for one in match.others}
    return AlignedDocuments(
        trimmed_gold,
        tuple(predicted),
        dropped,
        excluded_documents=len(gold) - len(common) + len(others),
        notes=tuple(notes),
    )


def _describe_trimming(gold: int, predicted: int) -> Iterator[str]:
    for count, kind in ((gold, "gold"), (predicted, "predicted")):
        if count:
            yield (
                f"{pluralize(count, f'{kind} entity is', f'{kind} entities are')} trimmed: "
                "white space and format characters at their "
                "edges are left out."
            )


def _describe_labels(
    output: SystemOutput,
    gold: Sequence[Document],
    predicted: Sequence[Prediction],
    config: LabelConfig | None,
) -> Iterator[str]:
    spans = [span for prediction in predicted for span in prediction.spans]
    if config is not None:
        yield from describe_unmapped(output.name, spans, config)
    labels = output.labels or sorted({span.label for span in spans})
    gold_labels = {span.label for document in gold for span in document.spans}
    for alike in find_labels_alike({*gold_labels, *map_system_labels(labels, config)}):
        if not gold_labels.issuperset(alike):
            yield f"Labels of gold and {output.name} look alike, but differ: {_list_ascii(alike)}."
    yield from describe_without_common_label(output.name, gold_labels, labels, config)


def _list_ascii(labels: Sequence[str]) -> str:
    return ", ".join(map(ascii, labels))


def _match_documents(
    gold: Sequence[Document], output: SystemOutput, *, only_common_documents: bool
) -> _MatchedDocuments:
    by_id = {pair[0].id: pair for pair in output.predictions_by_document}
    same = {one.id: by_id[one.id] for one in gold if _has_same_text(one, by_id.get(one.id))}
    by_text = _match_by_text(
        [document for document in gold if document.id not in same],
        [pair for pair in output.predictions_by_document if pair[0].id not in same],
        output.name,
    )
    matched = same | by_text
    found = {predicted.id for predicted, _ in matched.values()}
    missing = [document for document in gold if document.id not in matched]
    others = tuple(pair[0] for pair in output.predictions_by_document if pair[0].id not in found)
    if len(by_text) <= len(same):  # otherwise ids are another numbering
        others_by_id = {document.id: document for document in others}
        for document in missing:
            if document.id in others_by_id:
                _refuse_other_text(document, others_by_id[document.id], output.name)
    if not only_common_documents:
        _check_same_documents({one.id for one in missing}, {one.id for one in others}, output.name)
    return _MatchedDocuments(matched, others, _describe_matches_by_text(by_text, output.name))


def _has_same_text(gold: Document, pair: DocumentPrediction | None) -> bool:
    return pair is not None and pair[0].text == gold.text


def _match_by_text(
    gold: Sequence[Document], predicted: Sequence[DocumentPrediction], name: str
) -> dict[str, DocumentPrediction]:
    """Match documents by text alone; returns the predictions by gold id.

    Raises:
        InputError: If a text repeats, and the scores depend on the order of its documents.
    """
    gold_by_text, predicted_by_text = defaultdict(list), defaultdict(list)
    for document in gold:
        gold_by_text[document.text].append(document)
    for pair in predicted:
        predicted_by_text[pair[0].text].append(pair)
    matched: dict[str, DocumentPrediction] = {}
    for text in filter(predicted_by_text.__contains__, gold_by_text):
        documents, pairs = gold_by_text[text], predicted_by_text[text]
        is_either_equal = (
            len({(one.spans, one.masked_ranges) for one in documents}) == 1
            or len({pair[1].spans for pair in pairs}) == 1
        )
        if len(documents) != len(pairs) or not is_either_equal:
            raise InputError(
                f"the text {text[:40]!r} is that of {len(documents)} gold documents "
                f"({_format_ids([one.id for one in documents])}) and of {len(pairs)} in {name} "
                f"({_format_ids([pair[0].id for pair in pairs])}), with other ids: which belong "
                "together is unknown, so give both files the same ids",
                code="document-text-ambiguous",
            )
        matched |= {one.id: pair for one, pair in zip(documents, pairs, strict=True)}
    return matched


def _describe_matches_by_text(matched: Mapping[str, DocumentPrediction], name: str) -> str:
    if not matched:
        return ""
    count = pluralize(len(matched), "document")
    ids = {gold_id: document.id for gold_id, (document, _) in matched.items()}
    for lacking, used in ((name, ids.values()), ("Gold", ids.keys())):
        if all(map(is_place_of_line, used)):
            return f"{lacking} has {count} without ids, matched by text."
    gold_id, other = next(iter(ids.items()))
    return f"{count} matched by text: {name} has other ids, such as {other!r} for {gold_id!r}."


def _trim_gold(
    gold: Sequence[Document],
) -> tuple[tuple[Document, ...], tuple[DroppedAnnotation, ...], int]:
    """Trim the spans of gold; returns the dropped ones and the number of changed spans too."""
    documents, dropped, changed = [], [], 0
    for document in gold:
        spans, wordless, count = _trim_spans(document, document.spans)
        documents.append(replace(document, spans=spans) if count or wordless else document)
        dropped += wordless
        changed += count
    return tuple(documents), tuple(dropped), changed


def _trim_predictions(
    predicted: Sequence[DocumentPrediction],
) -> tuple[tuple[Prediction, ...], int]:
    """Trim the spans of predictions; returns the number of changed spans too."""
    predictions, changed = [], 0
    for document, prediction in predicted:
        spans, wordless, count = _trim_spans(document, prediction.spans)
        changed += count
        dropped = (*prediction.dropped, *wordless)
        is_same = not count and not wordless
        predictions.append(
            prediction
            if is_same
            else replace(prediction, spans=tuple(sorted(spans)), dropped=dropped)
        )
    return tuple(predictions), changed


def _trim_spans(
    document: Document, spans: Sequence[Span]
) -> tuple[tuple[Span, ...], list[DroppedAnnotation], int]:
    kept, dropped, changed = [], [], 0
    for span in spans:
        edges = trim_to_words(document.text, span.start, span.end)
        if edges is None:
            dropped.append(document.drop_span(span, "no words"))
            continue
        changed += edges != (span.start, span.end)
        kept.append(replace(span, start=edges[0], end=edges[1]))
    return tuple(kept), dropped, changed


def _check_unique_ids(ids: Sequence[str], name: str) -> None:
    if not ids:
        raise InputError(
            f"{name} has no documents: give documents to evaluate", code="no-documents"
        )
    repeated = [one for one, times in Counter(ids).items() if times > 1]
    if repeated:
        raise InputError(
            f"{name} has {pluralize(len(repeated), 'id')} more than once: {_format_ids(repeated)}; "
            "give each document its own id",
            code="repeated-document-id",
        )


def _check_same_documents(missing: Set[str], others: Set[str], name: str) -> None:
    for lacking, ids in ((name, missing), ("gold", others)):
        if ids:
            raise InputError(
                f"{lacking} lacks {pluralize(len(ids), 'document')} that the other file has: "
                f"{_format_ids(ids)}; add them, or use --only-common",
                code="documents-differ",
            )


def _refuse_other_text(gold: Document, predicted: Document, name: str) -> None:
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


def collect_labels(aligned: AlignedDocuments) -> set[str]:
    """All labels of gold and predictions."""
    spans = chain(
        (document.spans for document in aligned.gold),
        (prediction.spans for system in aligned.predicted for prediction in system),
    )
    return {span.label for span in chain.from_iterable(spans)}


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
    if unused := set(labels) - collect_labels(aligned):
        raise LabelError(
            f"no span in gold or predictions has the label {', '.join(sorted(unused))}: check its "
            "spelling",
            code="label-without-spans",
        )
    return replace(
        aligned,
        gold=tuple(
            replace(document, spans=kept.spans)
            for document, kept in zip(aligned.gold, gold, strict=True)
        ),
        predicted=tuple(predicted),
        dropped=(*aligned.dropped, *chain.from_iterable(one.dropped for one in gold)),
    )
