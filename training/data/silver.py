"""Another system's predictions to silver: documents learnt from beside gold, word by word weighted.

A silver standard (Rebholz-Schuhmann et al. 2010, "The CALBC Silver Standard Corpus") is what
systems said about texts that nobody annotated. A word counts as much as the system was sure of it,
times one factor for all; what it could not say is left open, and no text is taken that gold or
whoever judges has too.
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
DEFAULT_SILVER_WEIGHT = 0.5  # of a sure word of silver beside one of gold; on dev, 1 was no better
MAX_LISTED_LABELS = 5  # labels in a message


@dataclass(frozen=True, slots=True)
class SilverDocument:
    """A document as a system labelled it.

    Attributes:
        document: With what was predicted; `unknown` where it could not be said.
        word_weights: How much each word counts beside one of gold: one per word, from 0 to 1.
    """

    document: Document
    word_weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SilverData:
    """What is learnt from beside gold.

    Attributes:
        documents: The surest first, so that the order of files cannot change what is learnt.
        sources: Names of the files they came from.
        versions: What made the predictions.
        weight: Of a word that the system was sure of.
        least: Task score below which a document was left out.
        left_out: How many documents are not learnt from, by reason.
        lost: Predicted entities that are not learnt from; their words are left open.
        unscored_entities: How many entities had no score; they count as their document does.
    """

    documents: tuple[SilverDocument, ...]
    sources: tuple[str, ...]
    versions: tuple[str, ...]
    weight: float
    least: float = 0.0
    left_out: Mapping[ExclusionReason, int] = field(default_factory=dict)
    lost: tuple[DroppedAnnotation, ...] = ()
    unscored_entities: int = 0

    @property
    def fingerprint(self) -> str:
        """Names documents, predictions and weights by content, as SHA-256 in hexadecimal."""
        texts = compute_fingerprint(one.document for one in self.documents)
        content = json.dumps([texts, [one.word_weights for one in self.documents]])
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def entity_count(self) -> int:
        """How many predicted entities there are, lost ones included."""
        return sum(len(one.document.spans) for one in self.documents)

    def to_json(self) -> Mapping[str, Any]:
        """What a manifest says of the silver."""
        return {
            "fingerprint": self.fingerprint[:16],
            "sources": list(self.sources),
            "versions": list(self.versions),
            "documents": len(self.documents),
            "entities": self.entity_count,
            "weight": self.weight,
            "least": self.least,
            "left_out": dict(self.left_out),
            "lost": dict(Counter(entry.reason for entry in self.lost)),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SilverOptions:
    """What may be learnt from, and how much it counts.

    Attributes:
        labels: Entity types of gold.
        train_documents: Documents that are learnt from as it is.
        dev_documents: Documents that are judged by.
        excluded_documents: Documents that will be judged by later.
        weight: Of a word that the system is sure of, from 0 to 1.
        min_score: Task score below which a document is left out.
    """

    labels: Sequence[str]
    train_documents: Sequence[Document]
    dev_documents: Sequence[Document]
    excluded_documents: Sequence[Document] = ()
    weight: float = DEFAULT_SILVER_WEIGHT
    min_score: float = 0.0


def read_silver(paths: Sequence[Path], options: SilverOptions) -> SilverData:
    """Read predictions and take what may be learnt from.

    Args:
        paths: Files of predictions, of any system.
        options: What may be learnt from.

    Returns:
        The silver.

    Raises:
        InputError: If a file cannot be read, or nothing is left to learn from.
        LabelError: If gold has none of the predicted labels.
    """
    predicted = [pair for path in paths for pair in read_predictions(path)]
    return replace(select_silver(predicted, options), sources=tuple(path.name for path in paths))


def select_silver(predicted: Sequence[PredictedDocument], options: SilverOptions) -> SilverData:
    """Take of predictions what may be learnt from.

    Args:
        predicted: Documents and what was predicted for each, in any order. Of several predictions
            for the same text the one with the highest task score counts.
        options: What may be learnt from.

    Returns:
        The silver, the same for any order.

    Raises:
        InputError: If nothing is left to learn from.
        LabelError: If gold has none of the predicted labels.
    """
    kept, left_out = _filter_predictions(predicted, options)
    if not kept:
        _raise_no_silver(left_out)
    _check_shared_labels(kept, options.labels)
    tag_set = TagSet(tuple(options.labels))
    silver = [_to_silver_document(*pair, weight=options.weight) for pair in kept]
    predictions = [prediction for _, prediction in kept]
    unsaid = [entry for prediction in predictions for entry in prediction.dropped]
    unsaid += [entry for one in silver for entry in tag_set.encode(one.document).dropped]
    return SilverData(
        documents=tuple(silver),
        sources=(),
        versions=tuple(sorted({prediction.version for prediction in predictions})),
        weight=options.weight,
        least=options.min_score,
        left_out=left_out,
        lost=tuple(unsaid),
        unscored_entities=sum(span.score is None for one in predictions for span in one.spans),
    )


def _filter_predictions(
    predicted: Sequence[PredictedDocument], rules: SilverOptions
) -> tuple[list[PredictedDocument], dict[ExclusionReason, int]]:
    """What is learnt from, the surest first; and how much is not, and why."""
    taken: dict[str, ExclusionReason] = {}
    sides: Mapping[ExclusionReason, Sequence[Document]] = {
        "text in dev": rules.dev_documents,
        "text held out": rules.excluded_documents,
        "text in gold": rules.train_documents,
    }
    for why, documents in sides.items():
        for document in documents:
            taken.setdefault(normalize_text(document.text), why)
    kept: list[PredictedDocument] = []
    left_out: Counter[ExclusionReason] = Counter()
    for document, prediction in sorted(predicted, key=_confidence_sort_key):
        key = normalize_text(document.text)
        if key in taken:
            left_out[taken[key]] += 1
        elif prediction.score < rules.min_score:
            left_out["score too low"] += 1
        else:
            kept.append((document, prediction))
            taken[key] = "text repeated"
    return kept, dict(sorted(left_out.items()))


def _confidence_sort_key(pair: PredictedDocument) -> tuple[Any, ...]:
    """Sorts by task score, the highest first; of equals anything will do but the order of files."""
    document, said = pair
    spans = [(span, _entity_score(span.score, said)) for span in said.spans]
    unsaid = [(entry.start, entry.end) for entry in said.dropped]
    return -said.score, document.text, spans, unsaid, said.tag_confidences, said.version


def _entity_score(score: float | None, prediction: Prediction) -> float:
    """The score of an entity, or that of its document where it has none."""
    return prediction.score if score is None else score


def _to_silver_document(
    document: Document, prediction: Prediction, *, weight: float
) -> SilverDocument:
    """Make a silver document of a prediction."""
    words = word_offsets(document.text)
    sure = list(prediction.tag_confidences) or [prediction.score] * len(words)
    # The other way round than `TagSet.encode`: of overlapping ones the last is the one it keeps.
    for span in sorted(prediction.spans, key=lambda span: (span.start - span.end, span))[::-1]:
        for word in range(*overlapping_words(words, span.start, span.end)):
            sure[word] = _entity_score(span.score, prediction)
    size = len(document.text)
    unsaid = ((entry.start, entry.end) for entry in prediction.dropped)
    unknown = tuple((start, end) for start, end in unsaid if 0 <= start < end <= size)
    return SilverDocument(
        Document(document.id, document.text, prediction.spans, masked_ranges=unknown),
        tuple(weight * min(1.0, max(0.0, one)) for one in sure),
    )


def _raise_no_silver(left_out: Mapping[ExclusionReason, int]) -> NoReturn:
    """Say why there is nothing to learn from."""
    told = ", ".join(f"{count} {why}" for why, count in left_out.items()) or "none was given"
    raise InputError(
        f"no predicted document is left to learn from ({told}): predict texts that are not "
        "annotated yet, or ask for a lower score"
    )


def _check_shared_labels(kept: Sequence[PredictedDocument], labels: Sequence[str]) -> None:
    """Refuse predictions that have nothing to say about the labels of gold."""
    said = Counter(span.label for _, prediction in kept for span in prediction.spans)
    if not said:
        raise InputError(
            f"not one entity is predicted in {len(kept)} documents, so they would teach that there "
            "are none: check what made the predictions"
        )
    if said.keys().isdisjoint(labels):
        named = ", ".join(
            f"{label!r} ({count})" for label, count in said.most_common(MAX_LISTED_LABELS)
        )
        more = f" and {len(said) - MAX_LISTED_LABELS} more" if len(said) > MAX_LISTED_LABELS else ""
        raise LabelError(
            f"no predicted entity has a label of gold ({', '.join(labels)}), but all have "
            f"{named}{more}: predict with the labels of gold"
        )
