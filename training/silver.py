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

from ner.document import Document, Lost, Prediction
from ner.errors import InputError, LabelError
from ner.tags import TagSet
from ner.words import word_offsets, words_touched
from training.corpus import fingerprint, read_predictions
from training.corpus.split import text_key

Pair = tuple[Document, Prediction]
Why = Literal["text in gold", "text in dev", "text held out", "score too low", "text repeated"]
WEIGHT = 0.5  # of a sure word of silver beside one of gold; on dev, 1 was no better
SHOWN = 5  # labels in a message


@dataclass(frozen=True, slots=True)
class SilverDocument:
    """A document as a system labelled it.

    Attributes:
        document: With what was predicted; `unknown` where it could not be said.
        weights: How much each word counts beside one of gold: one per word, from 0 to 1.
    """

    document: Document
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Silver:
    """What is learnt from beside gold.

    Attributes:
        documents: The surest first, so that the order of files cannot change what is learnt.
        sources: Names of the files they came from.
        versions: What made the predictions.
        weight: Of a word that the system was sure of.
        least: Task score below which a document was left out.
        left_out: How many documents are not learnt from, by reason.
        lost: Predicted entities that are not learnt from; their words are left open.
        unscored: How many entities had no score; they count as their document does.
    """

    documents: tuple[SilverDocument, ...]
    sources: tuple[str, ...]
    versions: tuple[str, ...]
    weight: float
    least: float = 0.0
    left_out: Mapping[Why, int] = field(default_factory=dict)
    lost: tuple[Lost, ...] = ()
    unscored: int = 0

    @property
    def fingerprint(self) -> str:
        """Names documents, predictions and weights by content, as SHA-256 in hexadecimal."""
        texts = fingerprint(one.document for one in self.documents)
        content = json.dumps([texts, [one.weights for one in self.documents]])
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def entities(self) -> int:
        """How many predicted entities there are, lost ones included."""
        return sum(len(one.document.spans) for one in self.documents)

    def to_json(self) -> Mapping[str, Any]:
        """What a manifest says of the silver."""
        return {
            "fingerprint": self.fingerprint[:16],
            "sources": list(self.sources),
            "versions": list(self.versions),
            "documents": len(self.documents),
            "entities": self.entities,
            "weight": self.weight,
            "least": self.least,
            "left_out": dict(self.left_out),
            "lost": dict(Counter(entry.reason for entry in self.lost)),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What may be learnt from, and how much it counts.

    Attributes:
        labels: Entity types of gold.
        gold: Documents that are learnt from as it is.
        dev: Documents that are judged by.
        held_out: Documents that will be judged by later.
        weight: Of a word that the system is sure of, from 0 to 1.
        least: Task score below which a document is left out.
    """

    labels: Sequence[str]
    gold: Sequence[Document]
    dev: Sequence[Document]
    held_out: Sequence[Document] = ()
    weight: float = WEIGHT
    least: float = 0.0


def read_silver(paths: Sequence[Path], rules: Rules) -> Silver:
    """Read predictions and take what may be learnt from.

    Args:
        paths: Files of predictions, of any system.
        rules: What may be learnt from.

    Returns:
        The silver.

    Raises:
        InputError: If a file cannot be read, or nothing is left to learn from.
        LabelError: If gold has none of the predicted labels.
    """
    predicted = [pair for path in paths for pair in read_predictions(path)]
    return replace(choose_silver(predicted, rules), sources=tuple(path.name for path in paths))


def choose_silver(predicted: Sequence[Pair], rules: Rules) -> Silver:
    """Take of predictions what may be learnt from.

    Args:
        predicted: Documents and what was predicted for each, in any order. Of several predictions
            for the same text the one with the highest task score counts.
        rules: What may be learnt from.

    Returns:
        The silver, the same for any order.

    Raises:
        InputError: If nothing is left to learn from.
        LabelError: If gold has none of the predicted labels.
    """
    kept, left_out = _sort_out(predicted, rules)
    if not kept:
        _refuse_nothing(left_out)
    _check_labels(kept, rules.labels)
    tag_set = TagSet(tuple(rules.labels))
    silver = [_weighed(*pair, weight=rules.weight) for pair in kept]
    predictions = [prediction for _, prediction in kept]
    unsaid = [entry for prediction in predictions for entry in prediction.lost]
    unsaid += [entry for one in silver for entry in tag_set.encode(one.document).lost]
    return Silver(
        documents=tuple(silver),
        sources=(),
        versions=tuple(sorted({prediction.version for prediction in predictions})),
        weight=rules.weight,
        least=rules.least,
        left_out=left_out,
        lost=tuple(unsaid),
        unscored=sum(span.score is None for one in predictions for span in one.spans),
    )


def _sort_out(predicted: Sequence[Pair], rules: Rules) -> tuple[list[Pair], dict[Why, int]]:
    """What is learnt from, the surest first; and how much is not, and why."""
    taken: dict[str, Why] = {}
    sides: Mapping[Why, Sequence[Document]] = {
        "text in dev": rules.dev,
        "text held out": rules.held_out,
        "text in gold": rules.gold,
    }
    for why, documents in sides.items():
        for document in documents:
            taken.setdefault(text_key(document.text), why)
    kept: list[Pair] = []
    left_out: Counter[Why] = Counter()
    for document, prediction in sorted(predicted, key=_rank):
        key = text_key(document.text)
        if key in taken:
            left_out[taken[key]] += 1
        elif prediction.score < rules.least:
            left_out["score too low"] += 1
        else:
            kept.append((document, prediction))
            taken[key] = "text repeated"
    return kept, dict(sorted(left_out.items()))


def _rank(pair: Pair) -> tuple[Any, ...]:
    """Sorts by task score, the highest first; of equals anything will do but the order of files."""
    document, said = pair
    spans = [(span, _score(span.score, said)) for span in said.spans]
    unsaid = [(entry.start, entry.end) for entry in said.lost]
    return -said.score, document.text, spans, unsaid, said.confidences, said.version


def _score(score: float | None, prediction: Prediction) -> float:
    """The score of an entity, or that of its document where it has none."""
    return prediction.score if score is None else score


def _weighed(document: Document, prediction: Prediction, *, weight: float) -> SilverDocument:
    """Make a silver document of a prediction."""
    words = word_offsets(document.text)
    sure = list(prediction.confidences) or [prediction.score] * len(words)
    # The other way round than `TagSet.encode`: of overlapping ones the last is the one it keeps.
    for span in sorted(prediction.spans, key=lambda span: (span.start - span.end, span))[::-1]:
        for word in range(*words_touched(words, span.start, span.end)):
            sure[word] = _score(span.score, prediction)
    size = len(document.text)
    unsaid = ((entry.start, entry.end) for entry in prediction.lost)
    unknown = tuple((start, end) for start, end in unsaid if 0 <= start < end <= size)
    return SilverDocument(
        Document(document.id, document.text, prediction.spans, unknown=unknown),
        tuple(weight * min(1.0, max(0.0, one)) for one in sure),
    )


def _refuse_nothing(left_out: Mapping[Why, int]) -> NoReturn:
    """Say why there is nothing to learn from."""
    told = ", ".join(f"{count} {why}" for why, count in left_out.items()) or "none was given"
    raise InputError(
        f"no predicted document is left to learn from ({told}): predict texts that are not "
        "annotated yet, or ask for a lower score"
    )


def _check_labels(kept: Sequence[Pair], labels: Sequence[str]) -> None:
    """Refuse predictions that have nothing to say about the labels of gold."""
    said = Counter(span.label for _, prediction in kept for span in prediction.spans)
    if not said:
        raise InputError(
            f"not one entity is predicted in {len(kept)} documents, so they would teach that there "
            "are none: check what made the predictions"
        )
    if said.keys().isdisjoint(labels):
        named = ", ".join(f"{label!r} ({count})" for label, count in said.most_common(SHOWN))
        more = f" and {len(said) - SHOWN} more" if len(said) > SHOWN else ""
        raise LabelError(
            f"no predicted entity has a label of gold ({', '.join(labels)}), but all have "
            f"{named}{more}: predict with the labels of gold"
        )
