"""Counts of a corpus: entities by label and length, and annotations that a training would lose."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tagalong.backend.annotations.import_log import CorpusWarning
from tagalong.ner.document import DROP_REASONS, Document, DroppedAnnotation, DropReason
from tagalong.ner.length_buckets import LENGTH_BUCKETS, LengthBucket, LengthUnit, length_bucket
from tagalong.ner.tags import TagSet
from tagalong.ner.words import word_offsets
from tagalong.training.corpus.corpus import Corpus
from tagalong.training.corpus.flat_losses import FlatLosses, summarize_flat_losses
from tagalong.training.corpus.hash_split import find_repeated_texts
from tagalong.training.corpus.word_rules import WordRuleChoice, choose_word_rule

MAX_EXAMPLES_PER_REASON = 5


@dataclass(frozen=True, slots=True)
class CorpusCheck:
    """The result of `check_corpus`."""

    documents: int
    documents_without_entities: int
    kept_entities: int  # those that flat tags over words can hold
    dropped: Mapping[DropReason, Sequence[DroppedAnnotation]]  # in the order of `DROP_REASONS`
    warnings: tuple[CorpusWarning, ...]
    labels: tuple[str, ...]
    repeated_documents: int  # with the text of an earlier one
    fingerprint: str
    word_rule_choice: WordRuleChoice  # of a training on the corpus

    @property
    def dropped_count(self) -> int:
        """Number of lost entities."""
        return sum(len(group) for group in self.dropped.values())

    @property
    def flat_losses(self) -> FlatLosses:
        """The entities that flat tags cannot hold."""
        counts = Counter({reason: len(group) for reason, group in self.dropped.items()})
        return summarize_flat_losses(counts, self.kept_entities)

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
                    "examples": [*map(_dropped_to_json, group[:MAX_EXAMPLES_PER_REASON])],
                }
                for reason, group in self.dropped.items()
            },
            "warnings": [
                {"kind": entry.kind, "count": entry.count, "examples": list(entry.examples)}
                for entry in self.warnings
            ],
            "fingerprint": self.fingerprint,
            "word_rule": self.word_rule_choice.rule.name,
            "lost_by_word_rule": dict(self.word_rule_choice.lost),
        }


def check_corpus(corpus: Corpus) -> CorpusCheck:
    """Find the annotations lost in reading, and those that tags over words cannot hold.

    Words are those of the rule that a training would take.
    """
    by_reason: defaultdict[DropReason, list[DroppedAnnotation]] = defaultdict(list)
    for entry in corpus.dropped:
        by_reason[entry.reason].append(entry)
    kept = 0
    choice = choose_word_rule(corpus.documents, corpus.labels)
    if corpus.labels:  # a tag set needs one
        tags = TagSet(corpus.labels, choice.rule)
        for document in corpus.documents:
            lost = tags.encode(document).dropped
            kept += len(set(document.spans)) - len(lost)  # a repeated span is tagged once
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
        word_rule_choice=choice,
    )


def _dropped_to_json(entry: DroppedAnnotation) -> dict[str, Any]:
    return {
        "document": entry.document,
        "label": entry.label,
        "text": entry.text[:200],  # a whole sentence marked by mistake would hide the rest
        "start": entry.start,
        "end": entry.end,
    }


@dataclass(frozen=True, slots=True)
class CorpusStats:
    """The result of `count_entities`."""

    documents: int
    documents_without_entities: int
    words: int  # by the word rule of `tagalong.ner.words`
    characters: int  # code points
    entity_counts: Mapping[tuple[str, LengthBucket], int]  # by label and length
    labels: tuple[str, ...]
    length_unit: LengthUnit = "words"

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
            "length_by": self.length_unit,
            "by_length": dict(zip(LENGTH_BUCKETS, self.count_by_length(), strict=True)),
            "by_label": {
                label: {
                    "entities": sum(counts := self.count_by_length(label)),
                    "by_length": dict(zip(LENGTH_BUCKETS, counts, strict=True)),
                }
                for label in self.labels
            },
        }


def count_entities(
    documents: Sequence[Document], labels: Iterable[str] = (), unit: LengthUnit = "words"
) -> CorpusStats:
    """Count words and entities; labels that are not in the label set follow it."""
    entities = Counter(
        (span.label, length_bucket(document.text, span.start, span.end, unit))
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
        labels=tuple(dict.fromkeys([*labels, *seen])),  # a label without entities counts 0
        length_unit=unit,
    )
