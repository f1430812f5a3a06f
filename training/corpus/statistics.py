"""The annotations that a training on a corpus would lose, and why."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tagalong.backend.annotations.import_log import CorpusWarning
from tagalong.ner.document import DROP_REASONS, DroppedAnnotation, DropReason
from tagalong.ner.tags import TagSet
from tagalong.training.corpus.corpus import Corpus
from tagalong.training.corpus.hash_split import find_repeated_texts

MAX_EXAMPLES_PER_REASON = 5


@dataclass(frozen=True, slots=True)
class CorpusCheck:
    """The result of `check_corpus`.

    Attributes:
        documents: Number of documents.
        documents_without_entities: Number of documents without entities.
        kept_entities: Number of entities that flat tags over words can hold.
        dropped: The other entities, by reason, in the order of `DROP_REASONS`.
        warnings: Warnings of reading.
        labels: The label set.
        repeated_documents: Number of documents with the text of an earlier one.
        fingerprint: See `compute_fingerprint`.
    """

    documents: int
    documents_without_entities: int
    kept_entities: int
    dropped: Mapping[DropReason, Sequence[DroppedAnnotation]]
    warnings: tuple[CorpusWarning, ...]
    labels: tuple[str, ...]
    repeated_documents: int
    fingerprint: str

    @property
    def dropped_count(self) -> int:
        """Number of lost entities."""
        return sum(len(group) for group in self.dropped.values())

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, with a few examples of each loss and warning."""
        return {
            "documents": self.documents,
            "documents_without_entities": self.documents_without_entities,
            "documents_with_a_repeated_text": self.repeated_documents,
            "labels": list(self.labels),
            "entities": self.kept_entities + self.dropped_count,
            "kept": self.kept_entities,
            "lost": {
                reason: {
                    "count": len(group),
                    "by_label": dict(Counter(entry.label for entry in group).most_common()),
                    "examples": [
                        _dropped_to_json(entry) for entry in group[:MAX_EXAMPLES_PER_REASON]
                    ],
                }
                for reason, group in self.dropped.items()
            },
            "warnings": [
                {"kind": entry.kind, "count": entry.count, "examples": list(entry.examples)}
                for entry in self.warnings
            ],
            "fingerprint": self.fingerprint,
        }


def check_corpus(corpus: Corpus) -> CorpusCheck:
    """Find the annotations lost in reading, and those that tags over words cannot hold."""
    by_reason: defaultdict[DropReason, list[DroppedAnnotation]] = defaultdict(list)
    for entry in corpus.dropped:
        by_reason[entry.reason].append(entry)
    kept = 0
    if corpus.labels:
        tags = TagSet(corpus.labels)
        for document in corpus.documents:
            lost = tags.encode(document).dropped
            kept += len(set(document.spans)) - len(lost)
            for entry in lost:
                by_reason[entry.reason].append(entry)
    return CorpusCheck(
        documents=len(corpus.documents),
        documents_without_entities=sum(not document.spans for document in corpus.documents),
        kept_entities=kept,
        dropped={reason: by_reason[reason] for reason in DROP_REASONS if reason in by_reason},
        warnings=corpus.warnings,
        labels=corpus.labels,
        repeated_documents=sum(len(group) - 1 for group in find_repeated_texts(corpus.documents)),
        fingerprint=corpus.fingerprint,
    )


def _dropped_to_json(entry: DroppedAnnotation) -> dict[str, Any]:
    return {
        "document": entry.document,
        "label": entry.label,
        "text": entry.text[:200],
        "start": entry.start,
        "end": entry.end,
    }
