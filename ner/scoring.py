"""Predicted spans against gold spans: counts by label and by length.

A strict match has the same start, end and label (exact match of CoNLL-2003, Tjong Kim Sang & De
Meulder 2003). A relaxed match has the same label and shares at least one code point; as many spans
as possible are paired one to one. Only counts are stored, and ratios follow from them. So the
counts of a corpus are the sum over its documents, and the cells of a table add up to its total.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import accumulate
from operator import attrgetter

from tagalong.ner.document import Span
from tagalong.ner.length_buckets import LengthBucket, LengthUnit, length_bucket

LabelLength = tuple[str, LengthBucket]
SpanKey = tuple[str, int, int]  # label, start, end: hashed and sorted faster than a Span
SPAN_KEY = attrgetter("label", "start", "end")


@dataclass(frozen=True, slots=True)
class Counts:
    """Matched, spurious and missed spans. Add with ``+``.

    The two spans of a relaxed match may differ in length, and each counts in its own stratum. So tp
    and tp_predicted may differ within a stratum; in a total, and for strict matches, they agree.
    """

    tp: int = 0  # matched gold spans
    tp_predicted: int = 0  # matched predicted spans
    fp: int = 0  # predicted spans without a match
    fn: int = 0  # gold spans without a match

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.tp + other.tp,
            self.tp_predicted + other.tp_predicted,
            self.fp + other.fp,
            self.fn + other.fn,
        )

    @property
    def is_empty(self) -> bool:
        """Neither gold nor predictions have spans, so F1 says nothing."""
        return not self.gold and not self.predicted

    @property
    def gold(self) -> int:
        """Gold spans, the support of recall."""
        return self.tp + self.fn

    @property
    def predicted(self) -> int:
        """Predicted spans, the support of precision."""
        return self.tp_predicted + self.fp

    @property
    def precision(self) -> float:
        """The matched share of predicted spans; 0.0 without any."""
        return self.tp_predicted / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """The matched share of gold spans; 0.0 without any."""
        return self.tp / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; 0.0 if both are 0."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


@dataclass(frozen=True, slots=True)
class StratifiedCounts:
    """Counts by label and length; a missing cell is empty."""

    # tp and fn by the length of the gold span, tp_predicted and fp by that of the predicted span
    cells: Mapping[LabelLength, Counts] = field(default_factory=dict)

    def __add__(self, other: "StratifiedCounts") -> "StratifiedCounts":
        cells = dict(self.cells)
        for cell, counts in other.cells.items():
            cells[cell] = cells[cell] + counts if cell in cells else counts
        return StratifiedCounts(cells)

    @property
    def total(self) -> Counts:
        """All cells together."""
        return sum(self.cells.values(), Counts())


@dataclass(frozen=True, slots=True)
class Scores:
    """Strict and relaxed counts of one document or of many. Add with ``+``."""

    strict: StratifiedCounts = field(default_factory=StratifiedCounts)
    relaxed: StratifiedCounts = field(default_factory=StratifiedCounts)

    def __add__(self, other: "Scores") -> "Scores":
        return Scores(self.strict + other.strict, self.relaxed + other.relaxed)


def score_spans(
    text: str, gold: Iterable[Span], predicted: Iterable[Span], unit: LengthUnit = "words"
) -> Scores:
    """Compare the spans of one document, in any order, overlapping or not, repeated or not."""
    gold_keys, predicted_keys = set(map(SPAN_KEY, gold)), set(map(SPAN_KEY, predicted))
    lengths = {key: length_bucket(text, key[1], key[2], unit) for key in gold_keys | predicted_keys}
    exact = gold_keys & predicted_keys
    relaxed = match_relaxed(gold_keys, predicted_keys)
    return Scores(
        strict=_count_by_stratum(gold_keys, predicted_keys, exact, exact, lengths),
        relaxed=_count_by_stratum(gold_keys, predicted_keys, *relaxed, lengths),
    )


def _count_by_stratum(
    gold: AbstractSet[SpanKey],
    predicted: AbstractSet[SpanKey],
    matched_gold: AbstractSet[SpanKey],
    matched_predicted: AbstractSet[SpanKey],
    lengths: Mapping[SpanKey, LengthBucket],
) -> StratifiedCounts:
    """Count spans into the cells of their own label and length."""
    cells = defaultdict[LabelLength, list[int]](lambda: [0, 0, 0, 0])  # in the order of `Counts`
    for key in gold:
        cells[key[0], lengths[key]][0 if key in matched_gold else 3] += 1
    for key in predicted:
        cells[key[0], lengths[key]][1 if key in matched_predicted else 2] += 1
    return StratifiedCounts({cell: Counts(*row) for cell, row in cells.items()})


def match_relaxed(
    gold: AbstractSet[SpanKey], predicted: AbstractSet[SpanKey]
) -> tuple[set[SpanKey], set[SpanKey]]:
    """Find the largest one-to-one pairing of overlapping spans with the same label.

    Of several such pairings, the spans closest to a span of the other set take part (Jaccard index;
    ties in text order). The best spans of both sets fit one pairing. For any two matchings there is
    one with the gold spans of the first and the predicted spans of the second (Mendelsohn & Dulmage
    1958). So the result depends neither on order nor on direction.

    Returns the paired gold spans and the paired predicted spans; equally many.
    """
    matched_gold: set[SpanKey] = set()
    matched_predicted: set[SpanKey] = set()
    for gold_cluster, predicted_cluster in _clusters(gold, predicted):
        if len(gold_cluster) == len(predicted_cluster) == 1:  # nearly all: skip the matching
            matched_gold.update(gold_cluster)
            matched_predicted.update(predicted_cluster)
        else:
            matched_gold.update(_matched_spans(gold_cluster, predicted_cluster))
            matched_predicted.update(_matched_spans(predicted_cluster, gold_cluster))
    return matched_gold, matched_predicted


def _clusters(
    gold: AbstractSet[SpanKey], predicted: AbstractSet[SpanKey]
) -> Iterable[tuple[list[SpanKey], list[SpanKey]]]:
    """Groups of one label linked by overlaps, with spans of both sets."""
    spans = sorted([(key, 0) for key in gold] + [(key, 1) for key in predicted])
    cluster: tuple[list[SpanKey], list[SpanKey]] = ([], [])
    label, reach = "", 0
    for key, origin in spans:
        if key[0] != label or key[1] >= reach:
            if cluster[0] and cluster[1]:
                yield cluster
            cluster = ([], [])
            label, reach = key[0], 0
        cluster[origin].append(key)
        reach = max(reach, key[2])
    if cluster[0] and cluster[1]:
        yield cluster


def _matched_spans(spans: Sequence[SpanKey], others: Sequence[SpanKey]) -> set[SpanKey]:
    """The spans that a largest pairing covers, the closest ones first."""
    candidates = overlapping_spans(spans, others)
    best = {
        key: max((jaccard_index(key, other) for other in candidates[key]), default=0.0)
        for key in spans
    }
    order = sorted(spans, key=lambda key: (-best[key], key))
    return set(maximum_matching({key: candidates[key] for key in order}))


def overlapping_spans(
    spans: Sequence[SpanKey], others: Sequence[SpanKey]
) -> dict[SpanKey, list[SpanKey]]:
    """For each span, the overlapping ones of ``others``, sorted by start, whatever their labels."""
    starts = [other[1] for other in others]
    reach = list(accumulate((other[2] for other in others), max))
    return {
        key: [
            other
            for other in others[bisect_right(reach, key[1]) : bisect_left(starts, key[2])]
            if other[2] > key[1]
        ]
        for key in spans
    }


def jaccard_index(one: SpanKey, other: SpanKey) -> float:
    """The Jaccard index of two overlapping spans, whatever their labels."""
    shared = min(one[2], other[2]) - max(one[1], other[1])
    return shared / (max(one[2], other[2]) - min(one[1], other[1]))


def maximum_matching(candidates: Mapping[SpanKey, Sequence[SpanKey]]) -> dict[SpanKey, SpanKey]:
    """Pair as many spans as possible, one to one.

    A paired span stays paired while partners change along augmenting paths (Berge 1957; Kuhn 1955).
    So the order of the spans decides which of them are paired: ``candidates`` lists the possible
    partners of each span, preferred spans first. Returns the partner of each paired span.
    """
    partners: dict[SpanKey, SpanKey] = {}
    owners: dict[SpanKey, SpanKey] = {}  # the same pairs, by partner
    for key in candidates:
        _augment(key, candidates, partners, owners)
    return partners


def _augment(
    key: SpanKey,
    candidates: Mapping[SpanKey, Sequence[SpanKey]],
    partners: dict[SpanKey, SpanKey],
    owners: dict[SpanKey, SpanKey],
) -> None:
    """Find a partner for one span; paired spans may move to another partner to make room."""
    reached_from: dict[SpanKey, SpanKey] = {}  # a candidate -> the span that would take it
    queue = [key]
    for span in queue:  # breadth first: the queue grows during the loop
        for candidate in candidates[span]:
            if candidate in reached_from:
                continue
            reached_from[candidate] = span
            if candidate in owners:
                queue.append(owners[candidate])
                continue
            free: SpanKey | None = candidate
            while free is not None:  # every span along the path moves to its next partner
                owner = reached_from[free]
                owners[free], partners[owner], free = owner, free, partners.get(owner)
            return
