"""A new queue comes before the remaining tasks of all earlier queues."""

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.label_studio.annotation_queue import (
    IN_QUEUE,
    TAB,
    places,
    queue_tasks,
)
from tagalong.backend.label_studio.api.http_client import PAGE_SIZE
from tagalong.backend.label_studio.api.objects import StoredPrediction, Task
from tagalong.backend.label_studio.api.outage_retry import RateLimitedRetry
from tagalong.backend.label_studio.connected_project import ConnectedProject
from tagalong.backend.label_studio.label_config_parser import parse_label_config
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import LabelStudioError
from tests.errors import raises

CONFIG = parse_label_config(
    '<View><Labels name="l" toName="t"><Label value="Chemical"/></Labels>'
    '<Text name="t" value="$text"/></View>'
)
VERSION = "enc-2"


class FakeLabelStudio:
    """The part of Label Studio that a queue uses, in memory.

    Every task has a prediction of an earlier version, with a place in the queue of that version.
    """

    def __init__(self, tasks: int) -> None:
        self.numbers = range(1, tasks + 1)
        self.annotated: set[int] = set()
        self.begun: set[int] = set()  # annotated, and others are to annotate them too
        self.refused: set[int] = set()
        self.stored = [StoredPrediction(one, one, "enc-1", -0.5, ()) for one in self.numbers]
        self.tasks = SimpleNamespace(list_after=self._list_after, list_by_id=self._list_by_id)
        self.predictions = SimpleNamespace(add=self._add, update_score=self._update_score)
        self.views = SimpleNamespace(create_or_update=self._create_or_update)

    def update_project(self, project: int, **settings: Any) -> None:
        assert settings == {"model_version": VERSION, "sampling": "Uncertainty sampling"}

    def served(self) -> list[int]:
        """Tasks in the order of uncertainty sampling: the lowest score of the version first."""
        scores = {
            one.task: one.score
            for one in self.stored
            if one.model_version == VERSION and one.task not in self.annotated
        }
        assert len(set(scores.values())) == len(scores)
        return sorted(scores, key=lambda task: scores[task] or 0)

    def shares(self) -> dict[int, float]:
        """The percentage that Label Studio shows for each task."""
        return {
            one.task: float(f"{100 * (one.score or 0):.2f}")
            for one in self.stored
            if one.model_version == VERSION
        }

    def _create_or_update(
        self, project: int, title: str, filters: Any, *, columns: Any
    ) -> SimpleNamespace:
        assert (title, filters, columns) == (TAB, IN_QUEUE, ("predictions_score",))
        return SimpleNamespace(id=7)

    def _tasks(self, numbers: Sequence[int]) -> list[Task]:
        held: dict[int, list[StoredPrediction]] = {number: [] for number in numbers}
        for one in self.stored:
            if one.task in held:
                held[one.task].append(one)
        return [
            Task(number, {}, tuple(found), done=number in self.annotated)
            for number, found in held.items()
        ]

    def _list_after(
        self, project: int, after_id: int = 0, *, unlabeled_only: bool = False
    ) -> list[Task]:
        out = self.annotated | self.begun if unlabeled_only else set()
        free = [one for one in self.numbers if one > after_id and one not in out]
        return self._tasks(free[:PAGE_SIZE])

    def _list_by_id(self, project: int, ids: Sequence[int]) -> list[Task]:
        assert len(ids) <= PAGE_SIZE
        return self._tasks(sorted(ids))

    def _add(self, project: int, items: Sequence[dict[str, Any]]) -> int:
        for item in items:
            assert 0 < item["score"] <= 1  # Label Studio leaves others out
            if item["task"] in self.refused:
                continue
            number = len(self.stored) + 1
            version, result = item["model_version"], tuple(item["result"])
            self.stored.append(
                StoredPrediction(number, item["task"], version, item["score"], result)
            )
        return len(items)

    def _update_score(self, prediction: int, score: float) -> None:
        self.stored[prediction - 1] = replace(self.stored[prediction - 1], score=score)


def queue_up(label_studio: Any, tasks: Sequence[int]) -> None:
    chosen = [(Document(str(task), "Naloxone."), Prediction((), 0.5, VERSION)) for task in tasks]
    project = ConnectedProject(label_studio, 1, CONFIG, RateLimitedRetry(requests_per_second=1e9))
    assert queue_tasks(project, chosen, version=VERSION) == 7


def test_second_queue_precedes_rest_of_first() -> None:
    label_studio = FakeLabelStudio(10)
    label_studio._add(1, [{"task": 9, "model_version": VERSION, "score": 2e-6, "result": []}])
    queue_up(label_studio, [5, 4, 3, 2, 1])
    assert label_studio.served() == [
        5,
        4,
        3,
        2,
        1,
        9,
    ]  # 9 is not chosen, and has a model's own score
    label_studio.annotated |= {5, 4}
    queue_up(label_studio, [7, 2, 8])
    assert label_studio.served() == [7, 2, 8, 3, 1, 9]
    assert len(label_studio.stored) == 10 + 8  # each task has one prediction of the version
    label_studio.annotated |= {7, 2, 8, 3, 1, 9}
    queue_up(label_studio, [6])
    assert label_studio.served() == [6]


def test_partly_annotated_tasks_follow_a_new_queue() -> None:
    label_studio = FakeLabelStudio(6)
    queue_up(label_studio, [1, 2, 3])
    label_studio.begun |= {1, 2, 3}
    queue_up(label_studio, [4, 5])
    assert label_studio.served() == [4, 5, 1, 2, 3]


@pytest.mark.slow
def test_repeated_queues_keep_one_order() -> None:
    """After 400 queues, repeated division would have reached 0."""
    label_studio, chance = FakeLabelStudio(PAGE_SIZE + 30), random.Random(0)
    order: list[int] = []
    for turn in range(400):
        free = [task for task in label_studio.numbers if task not in label_studio.annotated]
        chosen = chance.sample(free, 8)
        queue_up(label_studio, chosen)
        order = [*chosen, *(task for task in order if task not in chosen)]
        assert label_studio.served() == order
        if turn % 10 == 0:
            label_studio.annotated.add(order.pop(0))


@given(st.integers(1, 5_000))
def test_score_encodes_number_of_remaining_tasks(count: int) -> None:
    shown = [f"{100 * score:.2f}" for score in places(count)]  # by Label Studio, with a %
    assert shown == [f"-{left}.00" for left in range(count, 0, -1)]
    assert all(one < other for one, other in pairwise(places(count)))


def test_queue_scores_are_never_confidences() -> None:
    label_studio = FakeLabelStudio(6)
    queue_up(label_studio, [4, 2, 6])
    assert label_studio.shares() == {4: -3.0, 2: -2.0, 6: -1.0}
    label_studio.annotated |= {4}
    queue_up(label_studio, [1, 2])  # what is left of the first queue, without 2, is behind it
    assert label_studio.shares() == {4: -3.0, 1: -3.0, 2: -2.0, 6: -1.0}
    label_studio.annotated |= {1, 2, 6}  # nothing is left: the count begins at 1 again
    queue_up(label_studio, [3])
    assert label_studio.shares()[3] == -1.0


def test_large_project_is_read_to_last_page() -> None:
    label_studio = FakeLabelStudio(2 * PAGE_SIZE)
    queue_up(label_studio, [2 * PAGE_SIZE])
    queue_up(label_studio, [1])
    assert label_studio.served() == [1, 2 * PAGE_SIZE]


def test_other_versions_and_repeated_choices_take_no_place() -> None:
    label_studio = FakeLabelStudio(3)
    queue_up(label_studio, [3, 1])
    first = label_studio.stored[-2:]
    assert [one.score for one in first] == [-0.02, -0.01]
    queue_up(label_studio, [3, 1])
    assert label_studio.stored[-2:] == first


@pytest.mark.parametrize("score", [None, 0.0, 1e-6, 1.0])
def test_unchosen_task_keeps_its_score(score: float | None) -> None:
    label_studio = FakeLabelStudio(2)
    label_studio.stored.append(StoredPrediction(3, 1, VERSION, score, ()))
    queue_up(label_studio, [2])
    assert [one.score for one in label_studio.stored[-2:]] == [score, -0.01]


def test_prediction_that_was_not_stored_is_named() -> None:
    label_studio = FakeLabelStudio(3)
    label_studio.refused = {2}
    with raises(LabelStudioError, "predictions-not-stored"):
        queue_up(label_studio, [1, 2])
