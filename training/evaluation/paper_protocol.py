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

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import InputError
from tagalong.ner.scoring import LENGTH_BUCKETS, LengthBucket
from tagalong.ner.tags import IGNORE_INDEX, OUTSIDE, TagSet

PaperEntity = tuple[int, int, str]  # first word, last word (inclusive), label


@dataclass(frozen=True, slots=True)
class MatchCounts:
    """Match results under one scheme. Add with ``+``.

    Attributes:
        correct: Predictions with full credit.
        incorrect: Predictions that overlap gold, without credit.
        partial: Predictions with half credit.
        missed: Gold entities without an overlapping prediction.
        spurious: Predictions without an overlapping gold entity.
    """

    correct: int = 0
    incorrect: int = 0
    partial: int = 0
    missed: int = 0
    spurious: int = 0

    def __add__(self, other: "MatchCounts") -> "MatchCounts":
        return MatchCounts(
            self.correct + other.correct,
            self.incorrect + other.incorrect,
            self.partial + other.partial,
            self.missed + other.missed,
            self.spurious + other.spurious,
        )

    @property
    def precision(self) -> float:
        """Credit per prediction."""
        actual = self.correct + self.incorrect + self.partial + self.spurious
        return (self.correct + 0.5 * self.partial) / actual if actual else 0.0

    @property
    def recall(self) -> float:
        """Credit per gold entity, as this protocol counts them."""
        possible = self.correct + self.incorrect + self.partial + self.missed
        return (self.correct + 0.5 * self.partial) / possible if possible else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


@dataclass(frozen=True, slots=True)
class SchemeMatchCounts:
    """Match results under both schemes of the paper. Add with ``+``.

    Attributes:
        strict: Same words and label.
        partial: Same words count 1 and any overlap 0.5, regardless of the label.
    """

    strict: MatchCounts = field(default_factory=MatchCounts)
    partial: MatchCounts = field(default_factory=MatchCounts)

    def __add__(self, other: "SchemeMatchCounts") -> "SchemeMatchCounts":
        return SchemeMatchCounts(self.strict + other.strict, self.partial + other.partial)


@dataclass(frozen=True, slots=True)
class PaperReport:
    """Scores by the paper's protocol.

    Attributes:
        model: Version, or versions, of the predictions.
        gold: Name of the gold standard.
        labels: Scored labels; others are removed.
        dropped_gold: Gold spans of other labels, or without a word tag representation.
        dropped_predicted: Such predicted spans.
        overall: Whole tag sequences.
        by_length: Sequences cut at gold spans, by length in words.
    """

    model: str
    gold: str
    documents: int
    labels: tuple[str, ...]
    dropped_gold: int
    dropped_predicted: int
    overall: SchemeMatchCounts
    by_length: dict[LengthBucket, SchemeMatchCounts]


def evaluate_as_paper(
    gold: Sequence[Document],
    predicted: Sequence[Prediction],
    *,
    labels: Sequence[str] = (),
    source: str = "",
) -> PaperReport:
    """Evaluate predictions by the paper's protocol.

    Args:
        gold: Gold documents.
        predicted: Predictions in the same order.
        labels: Labels to score; empty for those of gold.
        source: Name of the gold standard in the report.

    Returns:
        The paper report.

    Raises:
        InputError: If there are no documents or no labels.
    """
    used = sorted({span.label for document in gold for span in document.spans})
    if not gold or not (labels or used):
        raise InputError(
            "the gold documents have no labeled entities, which --protocol paper needs: "
            "give annotated documents",
            code="gold-without-entities",
        )
    tag_set = TagSet(tuple(labels or used))
    overall, by_length = SchemeMatchCounts(), dict.fromkeys(LENGTH_BUCKETS, SchemeMatchCounts())
    dropped_gold = dropped_predicted = 0
    for document, prediction in zip(gold, predicted, strict=True):
        predicted_document = Document(document.id, document.text, prediction.spans)
        gold_tags, gold_dropped = _tag_names(document, tag_set)
        predicted_tags, predicted_dropped = _tag_names(predicted_document, tag_set)
        dropped_gold += gold_dropped
        dropped_predicted += predicted_dropped
        overall += compare_tags(gold_tags, predicted_tags)
        for length, first, end in split_at_gold_entities(gold_tags):
            if (
                predicted_tags[first] != "O" or gold_tags[first] != "O"
            ):  # a word that is O in both adds nothing
                by_length[length] += compare_tags(gold_tags[first:end], predicted_tags[first:end])
    return PaperReport(
        model=", ".join(sorted({prediction.version for prediction in predicted})),
        gold=source,
        documents=len(gold),
        labels=tag_set.labels,
        dropped_gold=dropped_gold,
        dropped_predicted=dropped_predicted,
        overall=overall,
        by_length=by_length,
    )


def _tag_names(document: Document, tag_set: TagSet) -> tuple[list[str], int]:
    """Tag names of a document, with O for masked words, and the number of dropped spans."""
    tagged, names = tag_set.encode(document), tag_set.tag_names
    return [names[OUTSIDE if tag == IGNORE_INDEX else tag] for tag in tagged.tags], len(
        tagged.dropped
    )


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
    """Cut a tag sequence at its entities; each word outside them is one piece.

    Args:
        tags: Gold tag names.

    Yields:
        Length bucket, first word and end (exclusive) of each piece.
    """
    starts = {first: last + 1 for first, last, _ in collect_entities(tags)}
    first = 0
    while first < len(tags):
        end = starts.get(first, first + 1)
        yield LENGTH_BUCKETS[min(end - first, len(LENGTH_BUCKETS)) - 1], first, end
        first = end


def compare_tags(gold: Sequence[str], predicted: Sequence[str]) -> SchemeMatchCounts:
    """Score two tag sequences of the same words under both schemes."""
    gold_entities, predicted_entities = collect_entities(gold), collect_entities(predicted)
    exact, overlapped = set(gold_entities), set()
    total = SchemeMatchCounts()
    for entity in predicted_entities:
        # An equal gold entity is preferred; else the first overlapping one decides.
        matched = (
            entity
            if entity in exact
            else next((one for one in gold_entities if _entities_overlap(one, entity)), None)
        )
        if matched is not None:
            overlapped.add(matched)
        total += _score_entity(matched, entity)
    missed = MatchCounts(missed=len(gold_entities) - len(overlapped))
    return total + SchemeMatchCounts(missed, missed)


def _entities_overlap(one: PaperEntity, other: PaperEntity) -> bool:
    """Overlap of ``range(first, last)``, or equal words: an artefact, see the module."""
    return one[:2] == other[:2] or max(one[0], other[0]) < min(one[1], other[1])


def _score_entity(matched: PaperEntity | None, predicted: PaperEntity) -> SchemeMatchCounts:
    if matched is None:
        return SchemeMatchCounts(MatchCounts(spurious=1), MatchCounts(spurious=1))
    if matched == predicted:
        return SchemeMatchCounts(MatchCounts(correct=1), MatchCounts(correct=1))
    same_words = matched[:2] == predicted[:2]
    return SchemeMatchCounts(
        MatchCounts(incorrect=1), MatchCounts(correct=1) if same_words else MatchCounts(partial=1)
    )


def paper_report_to_json(report: PaperReport) -> dict[str, Any]:
    """Convert a report to JSON types; its ``protocol`` is "paper"."""
    return {
        "protocol": "paper",
        "model": report.model,
        "gold": report.gold,
        "documents": report.documents,
        "labels": list(report.labels),
        "dropped": {"gold": report.dropped_gold, "predicted": report.dropped_predicted},
        **_scheme_counts_to_json(report.overall),
        "by_length": {
            length: _scheme_counts_to_json(entry) for length, entry in report.by_length.items()
        },
    }


def _scheme_counts_to_json(scheme_counts: SchemeMatchCounts) -> dict[str, Any]:
    return {
        name: asdict(one) | {"precision": one.precision, "recall": one.recall, "f1": one.f1}
        for name, one in (("strict", scheme_counts.strict), ("partial", scheme_counts.partial))
    }
