"""The scores of "Do LLMs Surpass Encoders for Biomedical NER?", artefacts and all.

Obeidat, Al Nahian & Kavuluru 2025 (arXiv 2504.00664) score with an early version of David
Batista's code for SemEval-2013 task 9.1 (Segura-Bedmar et al. 2013). This is that procedure, to
compare with their tables; for anything else `tagalong.training.evaluation.evaluate` is the one to use. What it does
that one may not expect:

- Overlap is taken between ranges that leave out the last word of each span. So a one-word span
  overlaps nothing, and two spans that share only the last word of either do not overlap.
- Partial credit is given whatever the label; several predictions may have it for one gold span.
- An I- tag may start an entity, and a change of label inside one starts another.
- Scores by length cut both tag sequences at the gold spans. A word outside gold is then a sequence
  of its own, of length 1: every false positive outside gold counts there, once per word, and no
  score of length 2 or 3+ sees one, nor sees a prediction that runs past the end of its gold span.
- Labels outside the list are dropped on both sides, unseen.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import InputError
from tagalong.ner.scoring import LENGTH_BUCKETS, LengthBucket
from tagalong.ner.tags import IGNORE_INDEX, OUTSIDE, TagSet

PaperEntity = tuple[int, int, str]  # first word, last word (inclusive, as there), label


@dataclass(frozen=True, slots=True)
class MatchCounts:
    """How predictions fared under one scheme. Add with ``+``.

    Attributes:
        correct: Predictions that count in full.
        incorrect: Predictions that overlap gold and do not count.
        partial: Predictions that count half.
        missed: Gold entities that no prediction overlaps.
        spurious: Predictions that overlap no gold entity.
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
        """Credit per gold entity, as this procedure counts those."""
        possible = self.correct + self.incorrect + self.partial + self.missed
        return (self.correct + 0.5 * self.partial) / possible if possible else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


@dataclass(frozen=True, slots=True)
class SchemeMatchCounts:
    """The two schemes that the paper reports. Add with ``+``.

    Attributes:
        strict: Same words, same label.
        partial: The same words count 1 and any overlap 0.5, whatever the label.
    """

    strict: MatchCounts = field(default_factory=MatchCounts)
    partial: MatchCounts = field(default_factory=MatchCounts)

    def __add__(self, other: "SchemeMatchCounts") -> "SchemeMatchCounts":
        return SchemeMatchCounts(self.strict + other.strict, self.partial + other.partial)


@dataclass(frozen=True, slots=True)
class PaperReport:
    """Scores by the paper's procedure.

    Attributes:
        model: The version, or versions, that the predictions name.
        gold: Where gold comes from.
        documents: How many.
        labels: The list; all others are dropped.
        dropped_gold: Gold spans that do not count: not in the list, or beyond what tags can hold.
        dropped_predicted: Predicted spans that do not count, likewise.
        overall: Whole tag sequences.
        by_length: Sequences cut at gold spans, by the length of the piece in words.
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
    """Judge predictions by the paper's procedure.

    Args:
        gold: Documents with what is right.
        predicted: What was said about each, in the same order.
        labels: The list of labels; those of gold where it is empty.
        source: Where gold comes from, for the report.

    Returns:
        The report.

    Raises:
        InputError: If there are no documents, or no label at all.
    """
    used = sorted({span.label for document in gold for span in document.spans})
    if not gold or not (labels or used):
        raise InputError(
            "the paper's protocol needs gold documents with labelled entities, and there are none"
        )
    tag_set = TagSet(tuple(labels or used))
    overall, by_length = SchemeMatchCounts(), dict.fromkeys(LENGTH_BUCKETS, SchemeMatchCounts())
    dropped_gold = dropped_predicted = 0
    for document, prediction in zip(gold, predicted, strict=True):
        said = Document(document.id, document.text, prediction.spans)
        true_tags, lost_gold = _tag_names(document, tag_set)
        said_tags, lost_predicted = _tag_names(said, tag_set)
        dropped_gold += lost_gold
        dropped_predicted += lost_predicted
        overall += compare_tags(true_tags, said_tags)
        for length, first, end in split_at_gold_entities(true_tags):
            if said_tags[first] != "O" or true_tags[first] != "O":  # else a word, and O to both
                by_length[length] += compare_tags(true_tags[first:end], said_tags[first:end])
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
    """A document's tags by name, what is lost being O, and how many spans are."""
    tagged, names = tag_set.encode(document), tag_set.tag_names
    return [names[OUTSIDE if tag == IGNORE_INDEX else tag] for tag in tagged.tags], len(
        tagged.dropped
    )


def collect_entities(tags: Sequence[str]) -> list[PaperEntity]:
    """Read entities from tags, leniently: an I- tag of another label, or after O, starts one.

    Args:
        tags: Tag names.

    Returns:
        First and last word, and label, of each.
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
    """Cut a tag sequence at its entities; every word outside them is a piece of its own.

    Args:
        tags: Gold tag names.

    Yields:
        The bucket of the piece's length, its first word, and one past its last.
    """
    starts = {first: last + 1 for first, last, _ in collect_entities(tags)}
    first = 0
    while first < len(tags):
        end = starts.get(first, first + 1)
        yield LENGTH_BUCKETS[min(end - first, len(LENGTH_BUCKETS)) - 1], first, end
        first = end


def compare_tags(gold: Sequence[str], predicted: Sequence[str]) -> SchemeMatchCounts:
    """Score one pair of tag sequences.

    Args:
        gold: Tag names.
        predicted: Tag names of the same words.

    Returns:
        Both schemes.
    """
    true, said = collect_entities(gold), collect_entities(predicted)
    known, touched = set(true), set()
    total = SchemeMatchCounts()
    for entity in said:
        # The first gold entity that fits decides, an equal one before all others.
        met = (
            entity
            if entity in known
            else next((one for one in true if _entities_overlap(one, entity)), None)
        )
        if met is not None:
            touched.add(met)
        total += _score_entity(met, entity)
    missed = MatchCounts(missed=len(true) - len(touched))
    return total + SchemeMatchCounts(missed, missed)


def _entities_overlap(one: PaperEntity, other: PaperEntity) -> bool:
    """Whether two entities overlap as ``range(first, last)`` does, or are of the same words."""
    return one[:2] == other[:2] or max(one[0], other[0]) < min(one[1], other[1])


def _score_entity(met: PaperEntity | None, predicted: PaperEntity) -> SchemeMatchCounts:
    """How one prediction fares with the gold entity that it meets, if it meets one."""
    if met is None:
        return SchemeMatchCounts(MatchCounts(spurious=1), MatchCounts(spurious=1))
    if met == predicted:
        return SchemeMatchCounts(MatchCounts(correct=1), MatchCounts(correct=1))
    same_words = met[:2] == predicted[:2]
    return SchemeMatchCounts(
        MatchCounts(incorrect=1), MatchCounts(correct=1) if same_words else MatchCounts(partial=1)
    )


def paper_report_to_json(report: PaperReport) -> dict[str, Any]:
    """Write a report as an object that `json.dumps` takes.

    Args:
        report: Any report.

    Returns:
        The object, its ``protocol`` being "paper".
    """
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


def _scheme_counts_to_json(outcomes: SchemeMatchCounts) -> dict[str, Any]:
    """Both schemes, counts and ratios."""
    return {
        name: asdict(one) | {"precision": one.precision, "recall": one.recall, "f1": one.f1}
        for name, one in (("strict", outcomes.strict), ("partial", outcomes.partial))
    }
