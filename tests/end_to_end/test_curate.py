"""``tagalong curate`` on a project of a real Label Studio: what is served is what was chosen."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tagalong.backend.demo.label_studio_server import LabelStudioServer
from tagalong.backend.label_studio.annotation_queue import TAB
from tagalong.ner.errors import InputError
from tests.end_to_end.pool import ANNOTATED, Pool, new_pool
from tests.errors import raises

COUNT = 6


@pytest.fixture(scope="module")
def pool(label_studio: LabelStudioServer) -> Iterator[Pool]:
    with new_pool(label_studio) as pool:
        yield pool


def test_label_studio_hands_tasks_out_in_the_chosen_order(pool: Pool) -> None:
    free = list(pool.documents)[ANNOTATED:]
    waiting: list[int] = []
    for strategy in ("mixed", "uncertainty"):  # the second time, they have predictions already
        found = pool.command("select", "--count", COUNT, "--queue", "--strategy", strategy)
        assert found["annotated"] == 0
        assert found["pool"] == len(free)
        order = [int(choice["id"]) for choice in found["chosen"]]
        assert len(order) == COUNT
        assert set(order) <= set(free)
        waiting = [*order, *(task for task in waiting if task not in order)]
        places = {task: (rank - len(waiting)) / 100 for rank, task in enumerate(waiting)}
        assert places == {task: score for task, score in pool.scores().items() if score < 0}
        tab = pool.tab(TAB)
        assert found["shown"].endswith(f"/projects/{pool.project}/data?tab={tab.id}")
        assert pool.studio.tasks.list_ids_in_view(pool.project, tab.id) == waiting
    for task in order:
        assert pool.following() == task
        pool.annotate(task, pool.documents[task])


def test_each_task_has_one_prediction_of_the_version(pool: Pool) -> None:
    tasks = [one.task for one in pool.studio.predictions.list_for_project(pool.project)]
    assert len(tasks) == len(set(tasks))


def test_what_looks_wrong_is_shown_in_a_tab(pool: Pool) -> None:
    task, document = list(pool.documents.items())[-1]
    pool.annotate(task, replace(document, spans=()))  # everything was forgotten
    found = pool.command("review", "--model", "bundled", "--create-view", "--limit", 3)
    tasks = {int(finding["document"]) for finding in found["findings"][:3]}
    assert task in {int(finding["document"]) for finding in found["findings"]}
    tab = pool.tab("Review")
    assert found["shown"].endswith(f"?tab={tab.id}")
    assert set(pool.studio.tasks.list_ids_in_view(pool.project, tab.id)) == tasks


def test_agreement_is_of_tasks_that_several_did(pool: Pool) -> None:
    task, document = next(iter(pool.documents.items()))
    pool.annotate(task, replace(document, spans=document.spans[:1]))
    with raises(InputError, "no-task-with-two-annotators"):
        pool.command("agreement")
