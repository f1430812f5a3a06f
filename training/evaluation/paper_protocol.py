"""The scoring protocol of "Do LLMs Surpass Encoders for Biomedical NER?", including its artefacts.

Obeidat, Al Nahian & Kavuluru 2025 (arXiv 2504.00664) score with an early version of David Batista's
code for SemEval-2013 task 9.1 (Segura-Bedmar et al. 2013). This module reproduces it for comparison
with their tables; use `tagalong.training.evaluation.evaluate` for everything else. Its artefacts:

- Overlap is computed on ranges without the last word of each span. So a one-word span overlaps
  nothing, and two spans do not overlap if they share only the last word of one of them.
- Partial credit ignores the label, and several predictions may get it for one gold span.
- An I- tag may start an entity, and a change of label within an entity starts another.
- Scores by length cut both tag sequences at the gold spans. A word outside gold is a sequence of
  length 1: every false positive outside gold counts there, once per word. Scores of length 2 and 3+
  include no such false positive, and no prediction beyond the end of its gold span.
- Labels outside the list are silently removed from gold and predictions.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import InputError
from tagalong.ner.length_buckets import LENGTH_BUCKETS, LengthBucket, word_count_bucket
from tagalong.ner.tags import TagSet

PaperEntity = tuple[int, int, str]  # first word, last word (inclusive), label
Outcome = Literal["correct", "incorrect", "partial", "missed", "spurious"]
Outcomes = Counter[tuple[Outcome, Outcome]]  # of an entity, by the strict and the partial scheme


@dataclass(frozen=True, slots=True)
class MatchCounts:
    """Match results under one scheme."""

    correct: int = 0  # predictions with full credit
    incorrect: int = 0  # predictions that overlap gold, without credit
    partial: int = 0  # predictions with half credit
    missed: int = 0  # gold entities without an overlapping prediction
    spurious: int = 0  # predictions without an overlapping gold entity

    @property
    def precision(self) -> float:
        """Credit per prediction."""
        return self._credit_per(self.spurious)

    @property
    def recall(self) -> float:
        """Credit per gold entity, as this protocol counts them."""
        return self._credit_per(self.missed)

    def _credit_per(self, unmatched: int) -> float:
        entities = self.correct + self.incorrect + self.partial + unmatched
        return (self.correct + 0.5 * self.partial) / entities if entities else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


@dataclass(frozen=True, slots=True)
class SchemeMatchCounts:
    """Match results under both schemes of the paper."""

    strict: MatchCounts  # same words and label
    partial: MatchCounts  # same words count 1 and any overlap 0.5, regardless of the label


@dataclass(frozen=True, slots=True)
class PaperReport:
    """Scores by the paper's protocol."""

    model: str  # version, or versions, of the predictions
    gold: str  # name of the gold standard
    documents: int
    labels: tuple[str, ...]  # scored; others are removed
    dropped_gold: int  # spans of other labels, or without a word tag representation
    dropped_predicted: int  # such predicted spans
    overall: SchemeMatchCounts  # of whole tag sequences
    by_length: dict[LengthBucket, SchemeMatchCounts]  # of sequences cut at gold spans
    warnings: tuple[str, ...] = ()  # limits of the results, one sentence each


def evaluate_as_paper(
    gold: Sequence[Document],
    predicted: Sequence[Prediction],
    *,
    labels: Sequence[str] = (),
    source: str = "",
) -> PaperReport:
    """Evaluate predictions by the paper's protocol, on these labels or else on those of gold.

    `source` is the name of the gold standard in the report.

    Raises:
        InputError: If there are no documents or no labels.
    """
    used = sorted({span.label for document in gold for span in document.spans})
    if not gold or not (labels or used):
        raise InputError(
            "the gold documents have no labelled entities, which --protocol paper needs: "
            "give annotated documents",
            code="gold-without-entities",
        )
    tag_set = TagSet(tuple(labels or used))
    overall, by_length = Outcomes(), {length: Outcomes() for length in LENGTH_BUCKETS}
    dropped_gold = dropped_predicted = 0
    for document, prediction in zip(gold, predicted, strict=True):
        tagged = tag_set.encode(document)
        answered = tag_set.encode(Document(document.id, document.text, prediction.spans))
        dropped_gold += len(tagged.dropped)
        dropped_predicted += len(answered.dropped)
        gold_tags, tags = tag_set.to_names(tagged.tags), tag_set.to_names(answered.tags)
        overall += compare_tags(gold_tags, tags)
        for length, first, end in split_at_gold_entities(gold_tags):
            if tags[first] != "O" or gold_tags[first] != "O":  # a word that is O in both adds none
                by_length[length] += compare_tags(gold_tags[first:end], tags[first:end])
    return PaperReport(
        model=", ".join(sorted({prediction.version for prediction in predicted})),
        gold=source,
        documents=len(gold),
        labels=tag_set.labels,
        dropped_gold=dropped_gold,
        dropped_predicted=dropped_predicted,
        overall=_count_by_scheme(overall),
        by_length={length: _count_by_scheme(found) for length, found in by_length.items()},
    )


def _count_by_scheme(outcomes: Outcomes) -> SchemeMatchCounts:
    strict, partial = Counter[str](), Counter[str]()
    for (by_strict, by_partial), count in outcomes.items():
        strict[by_strict] += count
        partial[by_partial] += count
    return SchemeMatchCounts(MatchCounts(**strict), MatchCounts(**partial))


def collect_entities(tags: Sequence[str]) -> list[PaperEntity]:
    """Read entities from tag names; an I- tag after O or another label starts an entity.

    Returns first and last word (inclusive) and label of each entity.
    """
    entities: list[PaperEntity] = []
    previous = "O"
    for index, tag in enumerate(tags):
        if tag[:1] == "I" and previous[2:] == tag[2:]:
            first, _, label = entities.pop()
            entities.append((first, index, label))
        elif tag != "O":
            entities.append((index, index, tag[2:]))
        previous = tag
    return entities


def split_at_gold_entities(tags: Sequence[str]) -> Iterator[tuple[LengthBucket, int, int]]:
    """Cut a sequence of gold tags at its entities; each word outside them is one piece.

    Yields:
        Length bucket, first word and end (exclusive) of each piece.
    """
    starts = {first: last + 1 for first, last, _ in collect_entities(tags)}
    first = 0
    while first < len(tags):
        end = starts.get(first, first + 1)
        yield word_count_bucket(end - first), first, end
        first = end


def compare_tags(gold: Sequence[str], predicted: Sequence[str]) -> Outcomes:
    """Compare the entities of two tag sequences of the same words."""
    gold_entities = collect_entities(gold)
    exact, overlapped = set(gold_entities), set()
    outcomes = Outcomes()
    for entity in collect_entities(predicted):
        # An equal gold entity is preferred; else the first overlapping one decides.
        matched = (
            entity
            if entity in exact
            else next((one for one in gold_entities if _entities_overlap(one, entity)), None)
        )
        if matched is None:
            outcomes["spurious", "spurious"] += 1
            continue
        overlapped.add(matched)
        if matched == entity:
            outcomes["correct", "correct"] += 1
        else:  # partial credit ignores the label
            outcomes["incorrect", "correct" if matched[:2] == entity[:2] else "partial"] += 1
    outcomes["missed", "missed"] = len(gold_entities) - len(overlapped)
    return outcomes


def _entities_overlap(one: PaperEntity, other: PaperEntity) -> bool:
    """Overlap of ``range(first, last)``, or equal words: an artefact, see the module."""
    return one[:2] == other[:2] or max(one[0], other[0]) < min(one[1], other[1])


def paper_report_to_json(report: PaperReport) -> dict[str, Any]:
    """Convert a report to JSON types; its ``protocol`` is "paper"."""
    return {
        "protocol": "paper",
        "model": report.model,
        "gold": report.gold,
        "documents": report.documents,
        "labels": list(report.labels),
        "dropped": {"gold": report.dropped_gold, "predicted": report.dropped_predicted},
        **_counts_to_json(report.overall),
        "length_by": "words",
        "by_length": {length: _counts_to_json(one) for length, one in report.by_length.items()},
        "warnings": list(report.warnings),
    }


def _counts_to_json(counts: SchemeMatchCounts) -> dict[str, Any]:
    return {
        name: asdict(one) | {"precision": one.precision, "recall": one.recall, "f1": one.f1}
        for name, one in (("strict", counts.strict), ("partial", counts.partial))
    }
