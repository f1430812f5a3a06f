"""Predicted spans against gold ones: counts that add up, by label and by length.

A strict match has the same start, end and label (exact match of CoNLL-2003, Tjong Kim Sang &
De Meulder 2003). A relaxed match has the same label and shares at least one code point; spans are
paired one to one, and as many as possible. Counts are what is kept, ratios are drawn from them: so
the score of a corpus is the sum over its documents, and the cells of a table add up to its total.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import accumulate
from operator import attrgetter
from typing import Literal

from tagalong.ner.document import Span
from tagalong.ner.words import WORD_PATTERN

LengthBucket = Literal["1", "2", "3+"]
LENGTH_BUCKETS: tuple[LengthBucket, ...] = LengthBucket.__args__  # type: ignore[attr-defined]
LabelLength = tuple[str, LengthBucket]
SpanKey = tuple[
    str, int, int
]  # label, start, end: a span as a plain tuple, quick to hash and to sort
SPAN_KEY = attrgetter("label", "start", "end")


@dataclass(frozen=True, slots=True)
class Counts:
    """How many spans were found, invented and missed. Add with ``+``; every ratio follows.

    The spans of a pair can differ in length where the match is relaxed, and each is then counted
    in its own stratum: in a stratum the matched gold spans (tp) need not be as many as the matched
    predicted ones. In a total, and wherever the match is strict, they are.

    Attributes:
        tp: Gold spans that are matched.
        tp_predicted: Predicted spans that are matched.
        fp: Predicted spans that are not.
        fn: Gold spans that are not.
    """

    tp: int = 0
    tp_predicted: int = 0
    fp: int = 0
    fn: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.tp + other.tp,
            self.tp_predicted + other.tp_predicted,
            self.fp + other.fp,
            self.fn + other.fn,
        )

    @property
    def gold(self) -> int:
        """How many gold spans there are: the support of recall."""
        return self.tp + self.fn

    @property
    def predicted(self) -> int:
        """How many predicted spans there are: the support of precision."""
        return self.tp_predicted + self.fp

    @property
    def precision(self) -> float:
        """The share of predicted spans that are matched, 0.0 where there are none."""
        return self.tp_predicted / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """The share of gold spans that are matched, 0.0 where there are none."""
        return self.tp / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall, 0.0 where both are."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


@dataclass(frozen=True, slots=True)
class StratifiedCounts:
    """Counts by label and length; a cell that is not there is empty.

    Attributes:
        cells: Counts of each label and length: recall's side (tp, fn) by the length of the gold
            span, precision's side (tp_predicted, fp) by the length of the predicted one.
    """

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

    def label_counts(self, label: str) -> Counts:
        """One label, whatever the length."""
        return sum(
            (self.cells.get((label, length), Counts()) for length in LENGTH_BUCKETS), Counts()
        )

    def length_counts(self, length: LengthBucket) -> Counts:
        """One length, whatever the label."""
        return sum((counts for cell, counts in self.cells.items() if cell[1] == length), Counts())


@dataclass(frozen=True, slots=True)
class Scores:
    """Both ways to compare, of one document or of many. Add with ``+``.

    Attributes:
        strict: Same start, end and label.
        relaxed: Same label and any overlap, one to one.
    """

    strict: StratifiedCounts = field(default_factory=StratifiedCounts)
    relaxed: StratifiedCounts = field(default_factory=StratifiedCounts)

    def __add__(self, other: "Scores") -> "Scores":
        return Scores(self.strict + other.strict, self.relaxed + other.relaxed)


def score_spans(text: str, gold: Iterable[Span], predicted: Iterable[Span]) -> Scores:
    """Compare the spans of one document.

    Args:
        text: Its text, for lengths in words.
        gold: In any order, overlapping or not; a span given twice counts once.
        predicted: Likewise.

    Returns:
        Counts by label and length. Every strict match is a relaxed match too.
    """
    ours, theirs = set(map(SPAN_KEY, gold)), set(map(SPAN_KEY, predicted))
    lengths = {key: length_bucket(text, key[1], key[2]) for key in ours | theirs}
    exact = ours & theirs
    return Scores(
        strict=_count_by_stratum(ours, theirs, exact, exact, lengths),
        relaxed=_count_by_stratum(ours, theirs, *match_relaxed(ours, theirs), lengths),
    )


def length_bucket(text: str, start: int, end: int) -> LengthBucket:
    """The stratum of a stretch of text: how many words it touches, up to "3+".

    Args:
        text: The whole text.
        start: First code point of the stretch.
        end: One past its last.

    Returns:
        "1", "2" or "3+"; "1" for white space alone, so that strata always add up.
    """
    # A word cut at the edge of a slice leaves one piece in it: pieces found are words touched.
    words = len(WORD_PATTERN.findall(text, start, end))
    return LENGTH_BUCKETS[min(max(words, 1), len(LENGTH_BUCKETS)) - 1]


def _count_by_stratum(
    gold: AbstractSet[SpanKey],
    predicted: AbstractSet[SpanKey],
    matched_gold: AbstractSet[SpanKey],
    matched_predicted: AbstractSet[SpanKey],
    lengths: Mapping[SpanKey, LengthBucket],
) -> StratifiedCounts:
    """Count spans into the cells of their own label and length."""
    cells: dict[LabelLength, list[int]] = {}
    for key in gold:
        row = cells.setdefault((key[0], lengths[key]), [0, 0, 0, 0])
        row[0 if key in matched_gold else 3] += 1
    for key in predicted:
        row = cells.setdefault((key[0], lengths[key]), [0, 0, 0, 0])
        row[1 if key in matched_predicted else 2] += 1
    return StratifiedCounts({cell: Counts(*row) for cell, row in cells.items()})


def match_relaxed(
    gold: AbstractSet[SpanKey], predicted: AbstractSet[SpanKey]
) -> tuple[set[SpanKey], set[SpanKey]]:
    """Which spans take part in the largest one-to-one pairing of overlapping, same-label spans.

    Where the pairing could be made in several ways, those spans take part that come closest to a
    span of the other side (Jaccard index; ties in text order). Both sides can have their choice in
    one pairing: of any two matchings, one exists that covers what the first covers on one side and
    the second on the other (Mendelsohn & Dulmage 1958). So nothing depends on order or on side.

    Args:
        gold: As (label, start, end).
        predicted: Likewise.

    Returns:
        The gold and the predicted spans that are paired; equally many.
    """
    matched_gold: set[SpanKey] = set()
    matched_predicted: set[SpanKey] = set()
    for ours, theirs in _clusters(gold, predicted):
        if len(ours) == len(theirs) == 1:
            matched_gold.update(ours)
            matched_predicted.update(theirs)
        else:
            matched_gold.update(_matched_spans(ours, theirs))
            matched_predicted.update(_matched_spans(theirs, ours))
    return matched_gold, matched_predicted


def _clusters(
    gold: AbstractSet[SpanKey], predicted: AbstractSet[SpanKey]
) -> Iterable[tuple[list[SpanKey], list[SpanKey]]]:
    """Groups of one label linked by overlaps, those that have spans of both sides."""
    spans = sorted([(key, 0) for key in gold] + [(key, 1) for key in predicted])
    sides: tuple[list[SpanKey], list[SpanKey]] = ([], [])
    label, reach = "", 0
    for key, side in spans:
        if key[0] != label or key[1] >= reach:
            if sides[0] and sides[1]:
                yield sides
            sides = ([], [])
            label, reach = key[0], 0
        sides[side].append(key)
        reach = max(reach, key[2])
    if sides[0] and sides[1]:
        yield sides


def _matched_spans(ours: Sequence[SpanKey], theirs: Sequence[SpanKey]) -> set[SpanKey]:
    """Those of ours that are paired when as many as possible are, the closest ones first."""
    near = overlapping_spans(ours, theirs)
    best = {
        key: max((jaccard_index(key, other) for other in near[key]), default=0.0) for key in ours
    }
    order = sorted(ours, key=lambda key: (-best[key], key))
    return set(maximum_matching({key: near[key] for key in order}))


def overlapping_spans(
    ours: Sequence[SpanKey], theirs: Sequence[SpanKey]
) -> dict[SpanKey, list[SpanKey]]:
    """Find who overlaps whom, labels aside.

    Args:
        ours: As (label, start, end), in any order.
        theirs: Likewise, sorted by start.

    Returns:
        For each of ours those of theirs that overlap it.
    """
    starts = [other[1] for other in theirs]
    reach = list(accumulate((other[2] for other in theirs), max))
    return {
        key: [
            other
            for other in theirs[bisect_right(reach, key[1]) : bisect_left(starts, key[2])]
            if other[2] > key[1]
        ]
        for key in ours
    }


def jaccard_index(one: SpanKey, other: SpanKey) -> float:
    """The Jaccard index of two spans that overlap, labels aside: 1.0 for the same stretch."""
    shared = min(one[2], other[2]) - max(one[1], other[1])
    return shared / (max(one[2], other[2]) - min(one[1], other[1]))


def maximum_matching(candidates: Mapping[SpanKey, Sequence[SpanKey]]) -> dict[SpanKey, SpanKey]:
    """Pair spans one to one, as many as possible.

    A span once paired stays paired while partners are exchanged along augmenting paths
    (Berge 1957; Kuhn 1955), so the order of spans is all that preference needs.

    Args:
        candidates: For each span those it may be paired with; whoever should rather be paired than
            others comes first.

    Returns:
        The partner of each that has one.
    """
    partner: dict[SpanKey, SpanKey] = {}  # ours -> theirs
    taker: dict[SpanKey, SpanKey] = {}  # theirs -> ours
    for key in candidates:
        _augment(key, candidates, partner, taker)
    return partner


def _augment(
    key: SpanKey,
    near: Mapping[SpanKey, Sequence[SpanKey]],
    partner: dict[SpanKey, SpanKey],
    taker: dict[SpanKey, SpanKey],
) -> None:
    """Find a partner for one span, moving others to another partner where that makes room."""
    reached_from: dict[SpanKey, SpanKey] = {}  # theirs -> the one of ours that would take it
    queue = [key]
    for ours in queue:  # grows while it is walked: breadth first
        for theirs in near[ours]:
            if theirs in reached_from:
                continue
            reached_from[theirs] = ours
            if theirs in taker:
                queue.append(taker[theirs])
                continue
            free: SpanKey | None = theirs
            while free is not None:  # everybody along the path moves to the next partner
                mover = reached_from[free]
                taker[free], partner[mover], free = mover, free, partner.get(mover)
            return
