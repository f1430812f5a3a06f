"""A queue comes wholly before what is left of earlier ones, however many there were."""

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.batch.politeness import Politeness
from backend.label_config import parse_label_config
from backend.next_tasks import LOWEST, Chosen, place_in_queue, queue
from backend.remote.connection import PAGE
from backend.remote.objects import StoredPrediction, Task
from ner.document import Document, Prediction

CONFIG = parse_label_config(
    '<View><Labels name="l" toName="t"><Label value="Chemical"/></Labels>'
    '<Text name="t" value="$text"/></View>'
)
VERSION = "enc-2"


class Studio:
    """A Label Studio in memory, as far as a queue asks it.

    Every task has a prediction of an earlier version, with a score lower than any other.
    """

    def __init__(self, tasks: int) -> None:
        self.numbers = range(1, tasks + 1)
        self.annotated: set[int] = set()
        self.begun: set[int] = set()  # annotated, and others are to annotate them too
        self.stored = [StoredPrediction(one, one, "enc-1", 1e-9, ()) for one in self.numbers]
        self.tasks = SimpleNamespace(after=self._after, named=self._named)
        self.predictions = SimpleNamespace(add=self._add, rescore=self._rescore)
        self.views = SimpleNamespace(show=lambda *_: SimpleNamespace(id=7))

    def update_project(self, project: int, **settings: Any) -> None:
        assert settings == {"model_version": VERSION, "sampling": "Uncertainty sampling"}

    def served(self) -> list[int]:
        """Tasks as uncertainty sampling hands them out: the lowest score of the version first."""
        scores = {
            one.task: one.score
            for one in self.stored
            if one.model_version == VERSION and one.task not in self.annotated
        }
        assert len(set(scores.values())) == len(scores)
        return sorted(scores, key=lambda task: scores[task] or 0)

    def _tasks(self, numbers: Sequence[int]) -> list[Task]:
        held: dict[int, list[StoredPrediction]] = {number: [] for number in numbers}
        for one in self.stored:
            if one.task in held:
                held[one.task].append(one)
        return [Task(number, {}, len(found), tuple(found)) for number, found in held.items()]

    def _after(self, project: int, after: int = 0, *, unlabelled: bool = False) -> list[Task]:
        out = self.annotated | self.begun if unlabelled else set()
        free = [one for one in self.numbers if one > after and one not in out]
        return self._tasks(free[:PAGE])

    def _named(self, project: int, ids: Sequence[int]) -> list[Task]:
        assert len(ids) <= PAGE
        return self._tasks(sorted(ids))

    def _add(self, project: int, items: Sequence[dict[str, Any]]) -> int:
        for item in items:
            assert 0 < item["score"] <= 1
            number = len(self.stored) + 1
            version, result = item["model_version"], tuple(item["result"])
            self.stored.append(
                StoredPrediction(number, item["task"], version, item["score"], result)
            )
        return len(items)

    def _rescore(self, prediction: int, score: float) -> None:
        assert 0 < score <= 1
        self.stored[prediction - 1] = replace(self.stored[prediction - 1], score=score)


def queue_up(studio: Any, tasks: Sequence[int]) -> None:
    chosen = [
        Chosen(Document(str(task), "Naloxone."), Prediction((), 0.5, VERSION)) for task in tasks
    ]
    polite = Politeness(rate=1e9)
    queue(*(studio, 1, CONFIG, chosen), version=VERSION, title="Next", polite=polite)


def test_a_second_queue_comes_before_what_is_left_of_the_first() -> None:
    studio = Studio(10)
    studio._add(1, [{"task": 9, "model_version": VERSION, "score": 2e-6, "result": []}])
    queue_up(studio, [5, 4, 3, 2, 1])
    assert studio.served() == [5, 4, 3, 2, 1, 9]  # 9 is not chosen, and has a model's own score
    studio.annotated |= {5, 4}
    queue_up(studio, [7, 2, 8])
    assert studio.served() == [7, 2, 8, 3, 1, 9]
    assert len(studio.stored) == 10 + 8  # each task has one prediction of the version
    studio.annotated |= {7, 2, 8, 3, 1, 9}
    queue_up(studio, [6])
    assert studio.served() == [6]


def test_what_only_some_have_annotated_comes_behind_a_new_queue_too() -> None:
    studio = Studio(6)
    queue_up(studio, [1, 2, 3])
    studio.begun |= {1, 2, 3}
    queue_up(studio, [4, 5])
    assert studio.served() == [4, 5, 1, 2, 3]


def test_any_number_of_queues_keeps_to_the_order_of_all() -> None:
    """Four hundred: a share of a share of a share would have become 0 by then."""
    studio, chance = Studio(PAGE + 30), random.Random(0)
    order: list[int] = []
    for turn in range(400):
        free = [task for task in studio.numbers if task not in studio.annotated]
        chosen = chance.sample(free, 8)
        queue_up(studio, chosen)
        order = [*chosen, *(task for task in order if task not in chosen)]
        assert studio.served() == order
        if turn % 10 == 0:
            studio.annotated.add(order.pop(0))


@given(st.floats(min_value=1e-200, max_value=LOWEST, allow_subnormal=False), st.integers(1, 2_000))
def test_places_are_apart_and_before_what_comes_next(before: float, count: int) -> None:
    places = [place_in_queue(rank, count, before=before) for rank in range(count)]
    assert all(one < other for one, other in pairwise([0.0, *places, before]))


def test_a_large_project_is_read_to_its_end() -> None:
    studio = Studio(2 * PAGE)
    queue_up(studio, [2 * PAGE])
    queue_up(studio, [1])
    assert studio.served() == [1, 2 * PAGE]


def test_neither_another_version_nor_the_same_choice_again_takes_room() -> None:
    studio = Studio(3)
    queue_up(studio, [3, 1])
    first = studio.stored[-2:]
    assert all((one.score or 0) > LOWEST / 2 for one in first)
    queue_up(studio, [3, 1])
    assert studio.stored[-2:] == first


@pytest.mark.parametrize("score", [None, 0.0])
def test_no_score_is_no_place(score: float | None) -> None:
    studio = Studio(2)
    studio.stored.append(StoredPrediction(3, 1, VERSION, score, ()))
    queue_up(studio, [2])
    assert 0 < (studio.stored[-1].score or 0) < LOWEST
