"""How an export counts offsets, and which of its texts they are in, by the texts of its regions."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from tagalong.backend.annotations.annotated_task import AnnotatedTask
from tagalong.backend.documents.offsets import (
    CODE_POINTS,
    COUNTINGS,
    UTF_16,
    Counting,
    RawSpan,
    find_shifts,
    is_counted_alike,
    is_inside,
    shift,
    stands_as_stated,
)

MAX_SHIFTS_PER_REGION = 50
MAX_OTHER_TEXTS = 50  # in the data of a task
MAX_LONE_SHIFT = 3  # that one region alone may show: the bytes of a byte order mark

Alternative = Counting | str  # another counting of the expected text, or the path of another text


@dataclass(frozen=True, slots=True)
class ExportReading:
    """How to read the offsets of an export."""

    path: str | None = None  # of the text in the data; None: the expected text
    countings: tuple[Counting, ...] = (CODE_POINTS,)  # the usual one first

    def choose_counting(self, regions: Sequence[RawSpan], text: str) -> tuple[Counting, bool]:
        """Choose the counting of one annotation.

        Returns:
            The counting that most stated texts fit, and whether another one fits as many texts in
            other places.
        """
        if len(self.countings) == 1:
            return self.countings[0], False
        converted = [(one, one.to_code_points(regions, text)) for one in self.countings]
        counts = [
            sum(bool(one and one.text) and stands_as_stated(one, text) for one in places)
            for _, places in converted
        ]
        most = max(counts)
        best, *others = (
            pair for pair, count in zip(converted, counts, strict=True) if count == most
        )
        return best[0], any(places != best[1] for _, places in others)


def find_alternatives(task: AnnotatedTask) -> frozenset[Alternative] | None:
    """Find what fits the regions of a task too, and other places than code points do.

    Returns None if a region contradicts the expected text, or there is no such text.
    """
    if task.document is None:
        return None if task.annotations else frozenset()
    text = task.document.text
    regions = [region for one in task.annotations for region in one.regions]
    stated = [region for region in regions if region.text]
    others = {
        path for path, other in _candidate_texts(task, stated) if stated and _all_fit(stated, other)
    }
    if all(is_counted_alike(one.regions, text) for one in task.annotations):
        return frozenset(others)
    if not _all_fit(stated, text):
        return None
    return frozenset(others | {one for one in COUNTINGS if _fits_elsewhere(one, regions, text)})


def refutes(task: AnnotatedTask, alternative: Alternative) -> bool:
    """Whether a task fits code points of the expected text, and not the alternative."""
    if task.document is None:
        return False
    stated = [region for one in task.annotations for region in one.regions if region.text]
    if not stated:
        return False
    if isinstance(alternative, str):
        other = task.with_text_under(alternative)
        return other is None or not _all_fit(stated, other.text)
    text = task.document.text
    return not all(stands_as_stated(one, text) for one in alternative.to_code_points(stated, text))


def read_evidence(tasks: Iterable[AnnotatedTask]) -> ExportReading:
    """Find the text and the counting that the most stated texts of an export fit."""
    evidence = _Evidence()
    for task in tasks:
        evidence.add(task)
    return evidence.choose()


class _Evidence:
    def __init__(self) -> None:
        self._stated = 0  # regions with a text
        # Of these, the number that fit, by path of the text.
        self._fits = Counter[tuple[str | None, Counting]]()
        self._readable = Counter[str | None]()  # in any counting
        self._shifts = Counter[tuple[str | None, tuple[int, int]]]()

    def add(self, task: AnnotatedTask) -> None:
        stated = [region for one in task.annotations for region in one.regions if region.text]
        self._stated += len(stated)
        if task.document is not None:
            self._add_text(None, task.document.text, stated)
        for path, text in _candidate_texts(task, stated):
            self._add_text(path, text, stated)

    def _add_text(self, path: str | None, text: str, stated: Sequence[RawSpan]) -> None:
        fitting = set[int]()
        for counting in COUNTINGS:
            places = enumerate(counting.to_code_points(stated, text))
            found = {number for number, place in places if stands_as_stated(place, text)}
            self._fits[path, counting] += len(found)
            fitting |= found
        self._readable[path] += len(fitting)
        for region in stated:
            for found_shift in islice(find_shifts(region, text), MAX_SHIFTS_PER_REGION):
                self._shifts[path, found_shift] += 1

    def choose(self) -> ExportReading:
        path = self._choose_path()
        ranked = sorted(COUNTINGS, key=lambda one: -self._fits[path, one])  # equal ones in order
        best, readable = ranked[0], self._readable[path]
        difference, count = self._best_shift(path)
        if count > self._fits[path, best]:
            best, readable = shift(*difference), max(count, readable)
            self._fits[path, best] = count
        if self._fits[path, best] == readable:
            return ExportReading(path, (best,))
        # Several tools or versions annotated the project: each annotation decides.
        others = (one for one in ranked if self._fits[path, one])
        return ExportReading(path, tuple(dict.fromkeys((best, CODE_POINTS, UTF_16, *others))))

    def _choose_path(self) -> str | None:
        expected = max(self._readable[None], self._best_shift(None)[1])
        others = {path: count for path, count in self._readable.items() if path is not None}
        best = max(others, key=others.__getitem__, default=None)
        if best is not None and others[best] > expected and 2 * others[best] > self._stated:
            return best
        return None

    def _best_shift(self, path: str | None) -> tuple[tuple[int, int], int]:
        # The commonest difference of most regions; (0, 0) is none.
        counts = {one: count for (text, one), count in self._shifts.items() if text == path}
        best = max(counts, key=counts.__getitem__, default=(0, 0))
        count = counts.get(best, 0)
        is_proved = 2 * count > self._stated and (
            count > 1 or max(map(abs, best)) <= MAX_LONE_SHIFT
        )
        return (best, count) if is_proved and best != (0, 0) else ((0, 0), 0)


def _candidate_texts(task: AnnotatedTask, stated: Sequence[RawSpan]) -> Iterator[tuple[str, str]]:
    # Texts that are long enough for every region.
    longest = max((len(region.text) for region in stated), default=0)
    texts = ((path, text) for path, text in task.other_texts() if len(text) >= longest)
    return islice(texts, MAX_OTHER_TEXTS)


def _all_fit(stated: Sequence[RawSpan], text: str) -> bool:
    return all(stands_as_stated(region, text) for region in stated)


def _fits_elsewhere(counting: Counting, regions: Sequence[RawSpan], text: str) -> bool:
    places = counting.to_code_points(regions, text)
    return places != [*regions] and all(
        place is not None
        and (stands_as_stated(place, text) if place.text else is_inside(place, text))
        for place in places
    )
