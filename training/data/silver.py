"""Silver data: predictions of another system as training documents, with a weight for each word.

A silver standard (Rebholz-Schuhmann et al. 2010, "The CALBC Silver Standard Corpus") consists of
predictions for texts without annotations. The weight of a word is the system's confidence times one
factor for all words. Dropped entities are masked. Texts of train, dev and excluded documents are
left out.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tagalong.backend.annotations.import_log import CorpusWarning, ImportLog
from tagalong.backend.formats.registry import read_predictions
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.document import Document, DroppedAnnotation, Prediction
from tagalong.ner.errors import InputError, LabelError
from tagalong.ner.tags import TagSet
from tagalong.ner.words import WordRule, overlapping_words
from tagalong.training.corpus import compute_fingerprint
from tagalong.training.corpus.hash_split import normalize_text

PredictedDocument = tuple[Document, Prediction]
ExclusionReason = Literal[
    "text in gold", "text in dev", "text held out", "score too low", "text repeated"
]
ReservedDocuments = Mapping[ExclusionReason, Sequence[Document]]
DEFAULT_SILVER_WEIGHT = 0.5  # of a word with confidence 1; on dev, 1 was no better
MAX_LISTED_LABELS = 5  # in a message; a wrong label config may leave hundreds unknown


@dataclass(frozen=True, slots=True)
class SilverDocument:
    """A document with predicted spans, masked where the system dropped entities.

    Each word has a weight in the loss, from 0 to 1; a word of gold has 1.
    """

    document: Document
    word_weights: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SilverOptions:
    """Files of silver data, and how to use them."""

    files: Sequence[Path] = ()
    weight: float = DEFAULT_SILVER_WEIGHT  # of a word with confidence 1, from 0 to 1
    min_score: float = 0.0  # task score; documents with a lower one are excluded
    excluded_files: Sequence[Path] = ()  # reserved for evaluation, so their texts are excluded
    with_baseline: bool = True  # train on gold alone first, to compare


@dataclass(frozen=True, slots=True)
class SilverData:
    """Training documents with predicted spans."""

    documents: tuple[SilverDocument, ...]  # by descending score, whatever the order of the files
    options: SilverOptions = field(default_factory=SilverOptions)
    versions: tuple[str, ...] = ()  # that made the predictions
    excluded_counts: Mapping[ExclusionReason, int] = field(default_factory=dict)
    dropped: tuple[DroppedAnnotation, ...] = ()  # predicted entities whose words are masked
    unscored_entities: int = 0  # without a score of their own: they have that of their document
    warnings: tuple[CorpusWarning, ...] = ()  # of reading the files

    @property
    def fingerprint(self) -> str:
        """SHA-256 of documents, predictions and weights."""
        texts = compute_fingerprint(one.document for one in self.documents)
        content = json.dumps([texts, [one.word_weights for one in self.documents]])
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def entity_count(self) -> int:
        """Number of predicted entities, with the dropped ones."""
        return sum(len(one.document.spans) for one in self.documents)

    def to_json(self) -> Mapping[str, Any]:
        """Description of the silver data for the manifest, under the keys of the first release."""
        return {
            "fingerprint": self.fingerprint[:16],
            "sources": [path.name for path in self.options.files],
            "versions": list(self.versions),
            "documents": len(self.documents),
            "entities": self.entity_count,
            "weight": self.options.weight,
            "least": self.options.min_score,
            "left_out": dict(self.excluded_counts),
            "lost": dict(Counter(entry.reason for entry in self.dropped)),
        }


def read_silver(options: SilverOptions, reserved: ReservedDocuments, tag_set: TagSet) -> SilverData:
    """Read silver data from files of predictions, as `select_silver` selects it."""
    log = ImportLog()
    predicted = [pair for path in options.files for pair in read_predictions(path, import_log=log)]
    selected = select_silver(predicted, options, reserved, tag_set)
    return replace(selected, warnings=log.warnings())


def select_silver(
    predicted: Sequence[PredictedDocument],
    options: SilverOptions,
    reserved: ReservedDocuments,
    tag_set: TagSet,
) -> SilverData:
    """Select silver data from predictions; their order does not matter.

    Of several predictions for the same text, the one with the highest task score is selected. Texts
    of reserved documents are excluded; the first reason of a text counts.

    Raises `InputError` if no document is left, `LabelError` if none of the predicted labels is
    among those of gold.
    """
    taken: dict[str, ExclusionReason] = {}
    for reason, documents in reserved.items():
        for document in documents:
            taken.setdefault(normalize_text(document.text), reason)
    kept: list[PredictedDocument] = []
    excluded: Counter[ExclusionReason] = Counter()
    for document, prediction in sorted(predicted, key=_confidence_sort_key):
        key = normalize_text(document.text)
        if key in taken:
            excluded[taken[key]] += 1
        elif prediction.score < options.min_score:
            excluded["score too low"] += 1
        else:
            kept.append((document, prediction))
            taken[key] = "text repeated"
    excluded_counts = dict(sorted(excluded.items()))
    _check_kept(kept, excluded_counts, tag_set.labels)
    silver = tuple(
        _to_silver_document(*pair, weight=options.weight, word_rule=tag_set.word_rule)
        for pair in kept
    )
    predictions = [prediction for _, prediction in kept]
    dropped = [entry for prediction in predictions for entry in prediction.dropped]
    dropped += [entry for one in silver for entry in tag_set.encode(one.document).dropped]
    return SilverData(
        silver,
        options,
        versions=tuple(sorted({prediction.version for prediction in predictions})),
        excluded_counts=excluded_counts,
        dropped=tuple(dropped),
        unscored_entities=sum(span.score is None for one in predictions for span in one.spans),
    )


def _confidence_sort_key(pair: PredictedDocument) -> tuple[Any, ...]:
    """Sort key for descending task score; ties are broken by content, never by file order."""
    document, prediction = pair
    spans = [(span, _entity_score(span.score, prediction)) for span in prediction.spans]
    dropped = [(entry.start, entry.end) for entry in prediction.dropped]
    content = (document.text, spans, dropped, prediction.tag_confidences, prediction.version)
    return -prediction.score, *content


def _entity_score(score: float | None, prediction: Prediction) -> float:
    return prediction.score if score is None else score


def _to_silver_document(
    document: Document, prediction: Prediction, *, weight: float, word_rule: WordRule
) -> SilverDocument:
    words = word_rule.find_words(document.text)
    known = prediction.tag_confidences if prediction.word_rule == word_rule else ()
    confidences = list(known) or [prediction.score] * len(words)
    # Reverse of the order in `TagSet.encode`, so that the span it keeps of overlapping ones wins.
    for span in sorted(prediction.spans, key=lambda span: (span.start - span.end, span))[::-1]:
        for word in range(*overlapping_words(words, span.start, span.end)):
            confidences[word] = _entity_score(span.score, prediction)
    size = len(document.text)
    dropped = ((entry.start, entry.end) for entry in prediction.dropped)
    masked = tuple((start, end) for start, end in dropped if 0 <= start < end <= size)
    return SilverDocument(
        Document(document.id, document.text, prediction.spans, masked_ranges=masked),
        tuple(weight * min(1.0, max(0.0, one)) for one in confidences),
    )


def _check_kept(
    kept: Sequence[PredictedDocument],
    excluded_counts: Mapping[ExclusionReason, int],
    labels: Sequence[str],
) -> None:
    """Reject an empty selection, and predictions without a label of gold."""
    if not kept:
        reasons = ", ".join(f"{count} {why}" for why, count in excluded_counts.items())
        raise InputError(
            f"no predicted document is left for training ({reasons or 'the files have none'}): "
            "predict texts without annotations, or lower the minimum score",
            code="no-silver-documents",
        )
    counts = Counter(span.label for _, prediction in kept for span in prediction.spans)
    if not counts:
        raise InputError(
            f"{pluralize(len(kept), 'predicted document has', 'predicted documents have')} no "
            "entity, and would train the model to find "
            "none: check the system that made the predictions",
            code="silver-without-entities",
        )
    if counts.keys().isdisjoint(labels):
        raise LabelError(
            f"no predicted entity has a label of gold ({', '.join(labels)}), but all have "
            f"{format_label_counts(counts)}: predict with the labels of gold",
            code="silver-labels-not-in-gold",
        )


def format_label_counts(counts: Counter[str]) -> str:
    """List the most frequent labels with their counts for a message, and count the rest."""
    named = ", ".join(
        f"{label!r} ({count})" for label, count in counts.most_common(MAX_LISTED_LABELS)
    )
    rest = len(counts) - MAX_LISTED_LABELS
    return f"{named} and {rest} more" if rest > 0 else named
