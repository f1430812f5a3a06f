"""``tagalong curate`` on a project of a real Label Studio: what is served is what was chosen."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from typer.testing import CliRunner

from backend.demo.label_studio import RunningLabelStudio
from backend.demo.provision import label_config
from backend.label_studio import result_from_spans
from backend.next_tasks import LOWEST
from backend.remote.client import LabelStudio
from cli.main import app
from ner.document import Document
from ner.errors import InputError
from tests.end_to_end.connected import CONFIG
from tests.toy_corpus import toy_documents

ANNOTATED, COUNT = 4, 6


@dataclass(frozen=True)
class Pool:
    """A project in which a few tasks are annotated."""

    running: RunningLabelStudio
    studio: LabelStudio
    project: int
    documents: dict[int, Document]

    def command(self, *arguments: object) -> dict[str, Any]:
        asked = ["curate", *map(str, arguments), "--project", str(self.project), "--json"]
        asked += ["--url", self.running.url, "--key", self.running.account.token]
        result = CliRunner().invoke(app, asked)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    def annotate(self, task: int, document: Document) -> None:
        path = f"api/tasks/{task}/annotations/?project={self.project}"
        body = {"result": result_from_spans(document, document.spans, CONFIG), "lead_time": 1.0}
        self.studio.connection.call("POST", path, body=body)

    def following(self) -> int:
        """The task that Label Studio hands out next."""
        answer = self.studio.connection.call("GET", f"api/projects/{self.project}/next")
        return int(answer["id"])


@pytest.fixture(scope="module")
def pool(label_studio: RunningLabelStudio) -> Iterator[Pool]:
    documents = toy_documents(20, seed=4)
    with label_studio.connect() as studio:
        project = studio.create_project("Pool", label_config()).id
        tasks = studio.tasks.add(project, [{"data": {"text": one.text}} for one in documents])
        found = Pool(label_studio, studio, project, dict(zip(tasks, documents, strict=True)))
        for task in tasks[:ANNOTATED]:
            found.annotate(task, found.documents[task])
        yield found


def test_label_studio_hands_tasks_out_in_the_chosen_order(pool: Pool) -> None:
    free = list(pool.documents)[ANNOTATED:]
    for strategy in ("mixed", "uncertainty"):  # the second time, they have predictions already
        found = pool.command("next", "--count", COUNT, "--queue", "--strategy", strategy)
        assert found["annotated"] == 0
        assert found["pool"] == len(free)
        order = [int(choice["id"]) for choice in found["chosen"]]
        assert len(order) == COUNT
        assert set(order) <= set(free)
        stored = {
            one.task: one.score
            for one in pool.studio.predictions.of(pool.project)
            if one.task in order
        }
        assert sorted(stored, key=lambda task: stored[task] or 0) == order
        assert all(0 < (score or 0) < LOWEST for score in stored.values())
        view = next(
            one for one in pool.studio.views.of(pool.project) if one.title == f"Next: {strategy}"
        )
        assert found["shown"].endswith(f"/projects/{pool.project}/data?tab={view.id}")
        assert set(pool.studio.tasks.in_view(pool.project, view.id)) == set(order)
    for task in order:
        assert pool.following() == task
        pool.annotate(task, pool.documents[task])


def test_each_task_has_one_prediction_of_the_version(pool: Pool) -> None:
    tasks = [one.task for one in pool.studio.predictions.of(pool.project)]
    assert len(tasks) == len(set(tasks))


def test_what_looks_wrong_is_shown_in_a_tab(pool: Pool) -> None:
    task, document = list(pool.documents.items())[-1]
    pool.annotate(task, replace(document, spans=()))  # everything was forgotten
    found = pool.command("review", "--model", "bundled", "--tab", "--limit", 3)
    tasks = {int(finding["document"]) for finding in found["findings"][:3]}
    assert task in {int(finding["document"]) for finding in found["findings"]}
    view = next(one for one in pool.studio.views.of(pool.project) if one.title == "Review")
    assert found["shown"].endswith(f"?tab={view.id}")
    assert set(pool.studio.tasks.in_view(pool.project, view.id)) == tasks


def test_agreement_is_of_tasks_that_several_did(pool: Pool) -> None:
    task, document = next(iter(pool.documents.items()))
    pool.annotate(task, replace(document, spans=document.spans[:1]))
    with pytest.raises(InputError, match="none was annotated by two people"):
        pool.command("agreement")
