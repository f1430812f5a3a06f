"""What a training on a corpus would lose, and why."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ner.document import LOST_REASONS, Lost, LostReason
from ner.tags import TagSet
from training.corpus.corpus import Corpus
from training.corpus.ledger import CorpusWarning
from training.corpus.split import find_repeated_texts

EXAMPLES = 5  # of each reason


@dataclass(frozen=True, slots=True)
class Check:
    """What `check_corpus` found.

    Attributes:
        documents: How many there are.
        empty: How many of them have no entity.
        kept: Entities that flat tags over words can hold.
        lost: The others, by reason, in the order of `LOST_REASONS`; only reasons that occur.
        warnings: What reading had to judge.
        labels: The label set.
        repeated: How many documents have the text of an earlier one.
        fingerprint: Of the documents.
    """

    documents: int
    empty: int
    kept: int
    lost: Mapping[LostReason, Sequence[Lost]]
    warnings: tuple[CorpusWarning, ...]
    labels: tuple[str, ...]
    repeated: int
    fingerprint: str

    @property
    def n_lost(self) -> int:
        """Entities lost for whatever reason."""
        return sum(len(group) for group in self.lost.values())

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON values, with a few examples of each loss and warning."""
        return {
            "documents": self.documents,
            "documents_without_entities": self.empty,
            "documents_with_a_repeated_text": self.repeated,
            "labels": list(self.labels),
            "entities": self.kept + self.n_lost,
            "kept": self.kept,
            "lost": {
                reason: {
                    "count": len(group),
                    "by_label": dict(Counter(entry.label for entry in group).most_common()),
                    "examples": [_example(entry) for entry in group[:EXAMPLES]],
                }
                for reason, group in self.lost.items()
            },
            "warnings": [
                {"kind": entry.kind, "count": entry.count, "examples": list(entry.examples)}
                for entry in self.warnings
            ],
            "fingerprint": self.fingerprint,
        }


def check_corpus(corpus: Corpus) -> Check:
    """Find out what a training on a corpus would lose.

    Args:
        corpus: As it was read.

    Returns:
        What was lost in reading, and what tags over words cannot hold.
    """
    by_reason: defaultdict[LostReason, list[Lost]] = defaultdict(list)
    for entry in corpus.lost:
        by_reason[entry.reason].append(entry)
    kept = 0
    if corpus.labels:
        tags = TagSet(corpus.labels)
        for document in corpus.documents:
            lost = tags.encode(document).lost
            kept += len(set(document.spans)) - len(lost)
            for entry in lost:
                by_reason[entry.reason].append(entry)
    return Check(
        documents=len(corpus.documents),
        empty=sum(not document.spans for document in corpus.documents),
        kept=kept,
        lost={reason: by_reason[reason] for reason in LOST_REASONS if reason in by_reason},
        warnings=corpus.warnings,
        labels=corpus.labels,
        repeated=sum(len(group) - 1 for group in find_repeated_texts(corpus.documents)),
        fingerprint=corpus.fingerprint,
    )


def _example(entry: Lost) -> dict[str, Any]:
    """A lost annotation as plain JSON values."""
    return {
        "document": entry.document,
        "label": entry.label,
        "text": entry.text[:200],
        "start": entry.start,
        "end": entry.end,
    }
