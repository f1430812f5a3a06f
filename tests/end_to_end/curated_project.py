"""A project of a real Label Studio with some annotated toy documents."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from typer.testing import CliRunner

from tagalong.backend.demo.label_studio_server import LabelStudioServer
from tagalong.backend.demo.provision import read_demo_label_config
from tagalong.backend.label_studio.api.client import LabelStudioClient
from tagalong.backend.label_studio.api.objects import View
from tagalong.backend.label_studio.results import result_from_spans
from tagalong.cli.main import app
from tagalong.ner.document import Document
from tests.end_to_end.backend_project import CONFIG
from tests.toy_corpus import toy_documents

ANNOTATED = 4


@dataclass(frozen=True)
class CuratedProject:
    """A project in which a few tasks are annotated."""

    running: LabelStudioServer
    client: LabelStudioClient
    id: int
    documents: dict[int, Document]

    def command(self, *arguments: object) -> dict[str, Any]:
        command = ["curate", *map(str, arguments), "--project", str(self.id), "--json"]
        command += [
            "--label-studio-url",
            self.running.url,
            "--label-studio-key",
            self.running.account.token,
        ]
        result = CliRunner().invoke(app, command)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    def annotate(self, task: int, document: Document) -> None:
        path = f"api/tasks/{task}/annotations/?project={self.id}"
        body = {"result": result_from_spans(document, document.spans, CONFIG), "lead_time": 1.0}
        self.client.connection.request_json("POST", path, body=body)

    def next_task(self) -> int:
        """The task that Label Studio serves next."""
        answer = self.client.connection.request_json("GET", f"api/projects/{self.id}/next")
        return int(answer["id"])

    def tab(self, title: str) -> View:
        """A tab of the Data Manager."""
        return next(
            view for view in self.client.views.list_for_project(self.id) if view.title == title
        )

    def scores(self) -> dict[int, float]:
        """The scores of the stored predictions, by task."""
        return {
            one.task: one.score or 0 for one in self.client.predictions.list_for_project(self.id)
        }


@contextmanager
def create_curated_project(running: LabelStudioServer, size: int = 20) -> Iterator[CuratedProject]:
    """Create a project and annotate its first tasks."""
    documents = toy_documents(size, seed=4)
    with running.connect() as client:
        project = client.create_project("Curated", read_demo_label_config()).id
        tasks = client.tasks.add(project, [{"data": {"text": one.text}} for one in documents])
        found = CuratedProject(running, client, project, dict(zip(tasks, documents, strict=True)))
        for task in tasks[:ANNOTATED]:
            found.annotate(task, found.documents[task])
        yield found
