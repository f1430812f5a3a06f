"""``tagalong curate`` on a project of a real Label Studio."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tagalong.backend.demo.label_studio_server import LabelStudioServer
from tagalong.backend.label_studio.annotation_queue import TAB
from tagalong.ner.errors import InputError
from tests.end_to_end.curated_project import ANNOTATED, CuratedProject, create_curated_project
from tests.errors import raises

COUNT = 6


@pytest.fixture(scope="module")
def project(label_studio: LabelStudioServer) -> Iterator[CuratedProject]:
    with create_curated_project(label_studio) as project:
        yield project


def test_label_studio_serves_tasks_in_the_selected_order(project: CuratedProject) -> None:
    free = list(project.documents)[ANNOTATED:]
    waiting: list[int] = []
    for strategy in ("mixed", "uncertainty"):  # the second time, tasks have predictions
        found = project.command("select", "--count", COUNT, "--queue", "--strategy", strategy)
        assert found["annotated"] == 0
        assert found["pool"] == len(free)
        order = [int(choice["id"]) for choice in found["selected"]]
        assert len(order) == COUNT
        assert set(order) <= set(free)
        waiting = [*order, *(task for task in waiting if task not in order)]
        places = {task: (rank - len(waiting)) / 100 for rank, task in enumerate(waiting)}
        assert places == {task: score for task, score in project.scores().items() if score < 0}
        tab = project.tab(TAB)
        assert found["shown"].endswith(f"/projects/{project.id}/data?tab={tab.id}")
        assert project.client.tasks.list_ids_in_view(project.id, tab.id) == waiting
    for task in order:
        assert project.next_task() == task
        project.annotate(task, project.documents[task])


def test_each_task_has_one_prediction_of_the_version(project: CuratedProject) -> None:
    tasks = [one.task for one in project.client.predictions.list_for_project(project.id)]
    assert len(tasks) == len(set(tasks))


def test_review_creates_a_tab_of_suspect_tasks(project: CuratedProject) -> None:
    task, document = list(project.documents.items())[-1]
    project.annotate(task, replace(document, spans=()))  # an annotation without entities
    found = project.command("review", "--model", "bundled", "--create-view", "--limit", 3)
    tasks = {int(finding["document"]) for finding in found["findings"][:3]}
    assert task in {int(finding["document"]) for finding in found["findings"]}
    tab = project.tab("Review")
    assert found["shown"].endswith(f"?tab={tab.id}")
    assert set(project.client.tasks.list_ids_in_view(project.id, tab.id)) == tasks


def test_agreement_needs_tasks_of_several_annotators(project: CuratedProject) -> None:
    task, document = next(iter(project.documents.items()))
    project.annotate(task, replace(document, spans=document.spans[:1]))
    with raises(InputError, "no-task-with-two-annotators"):
        project.command("agreement")
