"""Counts of a corpus: documents, words, and entities by label and length."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tagalong.ner.document import Document
from tagalong.ner.scoring import LENGTH_BUCKETS, LengthBucket, length_bucket
from tagalong.ner.words import word_offsets


@dataclass(frozen=True, slots=True)
class CorpusStats:
    """The result of `count_entities`.

    Attributes:
        documents: Number of documents.
        documents_without_entities: Number of documents without entities.
        words: Number of words, by the word rule of `tagalong.ner.words`.
        characters: Number of code points.
        entity_counts: By label and length.
        labels: The label set, in order.
    """

    documents: int
    documents_without_entities: int
    words: int
    characters: int
    entity_counts: Mapping[tuple[str, LengthBucket], int]
    labels: tuple[str, ...]

    def count_by_length(self, label: str | None = None) -> list[int]:
        """Count the entities of one label, or all, for each bucket of `LENGTH_BUCKETS`."""
        labels = self.labels if label is None else (label,)
        return [
            sum(self.entity_counts.get((name, length), 0) for name in labels)
            for length in LENGTH_BUCKETS
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "documents": self.documents,
            "documents_without_entities": self.documents_without_entities,
            "words": self.words,
            "characters": self.characters,
            "entities": sum(self.entity_counts.values()),
            "by_length": dict(zip(LENGTH_BUCKETS, self.count_by_length(), strict=True)),
            "by_label": {
                label: {
                    "entities": sum(self.count_by_length(label)),
                    "by_length": dict(
                        zip(LENGTH_BUCKETS, self.count_by_length(label), strict=True)
                    ),
                }
                for label in self.labels
            },
        }


def count_entities(documents: Sequence[Document], labels: Iterable[str] = ()) -> CorpusStats:
    """Count words and entities.

    Args:
        documents: Any documents.
        labels: The label set, in order; other labels that occur follow it.

    Returns:
        The counts.
    """
    entities = Counter(
        (span.label, length_bucket(document.text, span.start, span.end))
        for document in documents
        for span in document.spans
    )
    seen = sorted({label for label, _ in entities})
    return CorpusStats(
        documents=len(documents),
        documents_without_entities=sum(not document.spans for document in documents),
        words=sum(len(word_offsets(document.text)) for document in documents),
        characters=sum(len(document.text) for document in documents),
        entity_counts=entities,
        labels=tuple(dict.fromkeys([*labels, *seen])),
    )
