"""Entities that one flat tag per word cannot hold, by reason."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.document import Document, DroppedAnnotation, DropReason
from tagalong.ner.tags import TagSet
from tagalong.training.corpus.word_rules import MAX_SILENT_LOSS

FLAT_REASONS = frozenset[DropReason](
    ["overlap", "edge inside a word", "no words", "discontinuous", "second label"]
)


@dataclass(frozen=True, slots=True)
class FlatLosses:
    """Entities that flat tags cannot hold."""

    counts: Mapping[DropReason, int]  # only reasons of `FLAT_REASONS`, most frequent first
    entities: int  # all of the corpus, the lost ones included

    @property
    def lost(self) -> int:
        """Number of lost entities."""
        return sum(self.counts.values())

    @property
    def is_high(self) -> bool:
        """Whether a training must be allowed to lose so many."""
        return self.lost > MAX_SILENT_LOSS * self.entities

    def describe(self) -> str:
        """Numbers and shares of the lost entities by reason, without a full stop."""
        listed = ", ".join(
            f"{count:,} {reason} ({100 * count / self.entities:.1f} %)"
            for reason, count in self.counts.items()
        )
        return (
            f"{self.lost:,} of {pluralize(self.entities, 'entity')} "
            f"{'does' if self.lost == 1 else 'do'} not fit into flat tags: {listed}"
        )


def count_flat_losses(
    documents: Collection[Document], tag_set: TagSet, dropped: Iterable[DroppedAnnotation]
) -> FlatLosses:
    """Count the entities of documents that flat tags cannot hold, those `dropped` before included.

    Labels outside the set do not count.
    """
    known, ids = set(tag_set.labels), {document.id for document in documents}
    lost = [one for one in dropped if one.document in ids and one.label in known]
    kept = 0
    for document in documents:
        spans = {span for span in document.spans if span.label in known}
        of_document = [one for one in tag_set.encode(document).dropped if one.label in known]
        kept += len(spans) - len(of_document)
        lost += of_document
    return summarize_flat_losses(Counter(one.reason for one in lost), kept)


def summarize_flat_losses(counts: Counter[DropReason], kept: int) -> FlatLosses:
    """Take the losses to flat tags from those of all reasons; `kept` entities are not lost."""
    flat = {reason: count for reason, count in counts.most_common() if reason in FLAT_REASONS}
    return FlatLosses(flat, kept + sum(flat.values()))
