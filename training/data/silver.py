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
from typing import Any, Literal, NoReturn

from tagalong.backend.formats.registry import read_predictions
from tagalong.ner.document import Document, DroppedAnnotation, Prediction
from tagalong.ner.errors import InputError, LabelError
from tagalong.ner.tags import TagSet
from tagalong.ner.words import overlapping_words, word_offsets
from tagalong.training.corpus import compute_fingerprint
from tagalong.training.corpus.hash_split import normalize_text

PredictedDocument = tuple[Document, Prediction]
ExclusionReason = Literal[
    "text in gold", "text in dev", "text held out", "score too low", "text repeated"
]
DEFAULT_SILVER_WEIGHT = 0.5  # of a word with confidence 1; on dev, 1 was no better
MAX_LISTED_LABELS = 5


@dataclass(frozen=True, slots=True)
class SilverDocument:
    """A document with predicted spans.

    Attributes:
        document: Masked where the system dropped entities.
        word_weights: Weight of each word in the loss, from 0 to 1; a word of gold has 1.
    """

    document: Document
    word_weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SilverData:
    """Training documents with predicted spans.

    Attributes:
        documents: By descending score, so that the order of files does not change the training.
        sources: Names of the files.
        versions: Versions that made the predictions.
        weight: Weight of a word with confidence 1.
        min_score: Documents with a lower task score were excluded.
        excluded_counts: Number of excluded documents by reason.
        dropped: Predicted entities that are not trained on; their words are masked.
        unscored_entities: Number of entities without a score; they have that of their document.
    """

    documents: tuple[SilverDocument, ...]
    sources: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    weight: float = DEFAULT_SILVER_WEIGHT
    min_score: float = 0.0
    excluded_counts: Mapping[ExclusionReason, int] = field(default_factory=dict)
    dropped: tuple[DroppedAnnotation, ...] = ()
    unscored_entities: int = 0

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
        """Description of the silver data for the manifest."""
        return {
            "fingerprint": self.fingerprint[:16],
            "sources": list(self.sources),
            "versions": list(self.versions),
            "documents": len(self.documents),
            "entities": self.entity_count,
            "weight": self.weight,
            "least": self.min_score,
            "left_out": dict(self.excluded_counts),
            "lost": dict(Counter(entry.reason for entry in self.dropped)),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SilverOptions:
    """Selection and weights of silver data.

    Attributes:
        labels: Entity types of gold.
        train_documents: Gold training documents.
        dev_documents: Gold dev documents.
        excluded_documents: Documents reserved for evaluation.
        weight: Weight of a word with confidence 1, from 0 to 1.
        min_score: Documents with a lower task score are excluded.
    """

    labels: Sequence[str]
    train_documents: Sequence[Document]
    dev_documents: Sequence[Document]
    excluded_documents: Sequence[Document] = ()
    weight: float = DEFAULT_SILVER_WEIGHT
    min_score: float = 0.0


def read_silver(paths: Sequence[Path], options: SilverOptions) -> SilverData:
    """Read silver data from files of predictions.

    Raises `InputError` if a file cannot be read, or no document is left, `LabelError` if gold has
    none of the predicted labels.
    """
    predicted = [pair for path in paths for pair in read_predictions(path)]
    return replace(select_silver(predicted, options), sources=tuple(path.name for path in paths))


def select_silver(predicted: Sequence[PredictedDocument], options: SilverOptions) -> SilverData:
    """Select silver data from predictions.

    Args:
        predicted: Documents with predictions, in any order. Of several predictions for the same
            text, the one with the highest task score is selected.
        options: Selection and weights.

    Returns:
        The silver data, the same for any order.

    Raises:
        InputError: If no document is left.
        LabelError: If gold has none of the predicted labels.
    """
    kept, excluded_counts = _filter_predictions(predicted, options)
    if not kept:
        _raise_no_silver(excluded_counts)
    _check_shared_labels(kept, options.labels)
    tag_set = TagSet(tuple(options.labels))
    silver = [_to_silver_document(*pair, weight=options.weight) for pair in kept]
    predictions = [prediction for _, prediction in kept]
    dropped = [entry for prediction in predictions for entry in prediction.dropped]
    dropped += [entry for one in silver for entry in tag_set.encode(one.document).dropped]
    return SilverData(
        documents=tuple(silver),
        versions=tuple(sorted({prediction.version for prediction in predictions})),
        weight=options.weight,
        min_score=options.min_score,
        excluded_counts=excluded_counts,
        dropped=tuple(dropped),
        unscored_entities=sum(span.score is None for one in predictions for span in one.spans),
    )


def _filter_predictions(
    predicted: Sequence[PredictedDocument], options: SilverOptions
) -> tuple[list[PredictedDocument], dict[ExclusionReason, int]]:
    """Selected documents by descending score, and the number of the others by reason."""
    taken: dict[str, ExclusionReason] = {}
    gold: Mapping[ExclusionReason, Sequence[Document]] = {
        "text in dev": options.dev_documents,
        "text held out": options.excluded_documents,
        "text in gold": options.train_documents,
    }
    for reason, documents in gold.items():
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
    return kept, dict(sorted(excluded.items()))


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
    document: Document, prediction: Prediction, *, weight: float
) -> SilverDocument:
    words = word_offsets(document.text)
    confidences = list(prediction.tag_confidences) or [prediction.score] * len(words)
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


def _raise_no_silver(excluded_counts: Mapping[ExclusionReason, int]) -> NoReturn:
    counts = ", ".join(f"{count} {why}" for why, count in excluded_counts.items())
    raise InputError(
        f"no predicted document is left for training ({counts or 'the files have none'}): predict "
        "texts without annotations, or lower the minimum score",
        code="no-silver-documents",
    )


def _check_shared_labels(kept: Sequence[PredictedDocument], labels: Sequence[str]) -> None:
    """Reject predictions without a label of gold."""
    counts = Counter(span.label for _, prediction in kept for span in prediction.spans)
    if not counts:
        raise InputError(
            f"{len(kept)} predicted documents have no entity, and would train the model to find "
            "none: check the system that made the predictions",
            code="silver-without-entities",
        )
    if counts.keys().isdisjoint(labels):
        named = ", ".join(
            f"{label!r} ({count})" for label, count in counts.most_common(MAX_LISTED_LABELS)
        )
        more = (
            f" and {len(counts) - MAX_LISTED_LABELS} more"
            if len(counts) > MAX_LISTED_LABELS
            else ""
        )
        raise LabelError(
            f"no predicted entity has a label of gold ({', '.join(labels)}), but all have "
            f"{named}{more}: predict with the labels of gold",
            code="silver-labels-not-in-gold",
        )
