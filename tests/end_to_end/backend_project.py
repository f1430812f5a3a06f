"""A project of a real Label Studio with a connected server."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tagalong.backend.demo.label_studio_server import LabelStudioServer
from tagalong.backend.demo.provision import read_demo_label_config
from tagalong.backend.label_studio.api.client import LabelStudioClient
from tagalong.backend.label_studio.api.objects import MLBackend, StoredPrediction
from tagalong.backend.label_studio.label_config_parser import parse_label_config
from tagalong.backend.label_studio.results import prediction_to_label_studio
from tagalong.backend.models.tagger import DocumentTagger
from tagalong.ner.document import Document

CONFIG = parse_label_config(read_demo_label_config())


@dataclass(frozen=True)
class BackendProject:
    """A project with the demo's labelling config and a backend titled by its version."""

    client: LabelStudioClient
    running: LabelStudioServer
    id: int
    backend: MLBackend
    texts: Mapping[int, str]  # by task

    def call(self, method: Any, path: str, body: Any = None) -> Any:
        return self.client.connection.request_json(method, path, body=body)

    def add(self, *texts: str) -> list[int]:
        return self.client.tasks.add(self.id, [{"data": {"text": text}} for text in texts])

    def upload(self, text: str) -> str:
        """Upload a text; returns the address that tasks have."""
        connection = self.client.connection
        answer = httpx.post(
            f"{connection.url}/api/projects/{self.id}/import?commit_to_project=false",
            files={"file": ("text.txt", text.encode())},
            headers={"Authorization": connection.authorization_header()},
            timeout=60,
        )
        (upload,) = answer.json()["file_upload_ids"]
        return f"/data/{self.call('GET', f'api/import/file-upload/{upload}')['file']}"

    def export(self, kind: str) -> bytes:
        """Export the annotations, as JSON, JSON_MIN, CSV and the like."""
        connection = self.client.connection
        answer = httpx.get(
            f"{connection.url}/api/projects/{self.id}/export?exportType={kind}",
            headers={"Authorization": connection.authorization_header()},
            timeout=60,
        )
        return answer.raise_for_status().content

    def stored(self, version: str = "") -> dict[int, StoredPrediction]:
        """The predictions of a version by task, at most one each."""
        version = version or self.backend.model_version
        stored = [
            one
            for one in self.client.predictions.list_for_project(self.id)
            if one.model_version == version
        ]
        by_task = {one.task: one for one in stored}
        assert len(by_task) == len(stored)
        return by_task


@contextmanager
def create_backend_project(
    running: LabelStudioServer,
    url: str,
    texts: Sequence[str],
    *,
    login: tuple[str, str] | None = None,
    title: str = "Odd texts",
    config: str = "",
) -> Iterator[BackendProject]:
    """Create a project with a connected backend; it is deleted at the end.

    Without a config, it has the demo's.
    """
    with running.connect() as client:
        project = client.create_project(title, config or read_demo_label_config()).id
        try:
            client.update_project(project, shows_predictions=True)
            rows = [{"data": {"text": text}} for text in texts]
            tasks = client.tasks.add(project, rows) if rows else []
            backend = client.ml_backends.add(project, url, "new", login=login)
            backend = client.ml_backends.update(backend, title=backend.model_version)
            yield BackendProject(
                client, running, project, backend, dict(zip(tasks, texts, strict=True))
            )
        finally:
            client.connection.request_json("DELETE", f"api/projects/{project}/")


def expected_items(tagger: DocumentTagger, texts: Mapping[int, str]) -> dict[int, dict[str, Any]]:
    """Predictions of a tagger as Label Studio must store them, by task.

    The tasks are one batch, because the rounding of bf16 depends on the batch.
    """
    documents = [Document(str(task), text) for task, text in texts.items()]
    items = [
        prediction_to_label_studio(document, prediction, CONFIG)
        for document, prediction in zip(documents, tagger.predict(documents), strict=True)
    ]
    return dict(zip(texts, items, strict=True))


def places(result: Sequence[Mapping[str, Any]]) -> list[tuple[int, int, str, str]]:
    """Start, end, label and text of each region."""
    values = [region["value"] for region in result]
    return sorted(
        (value["start"], value["end"], *value["labels"], value["text"]) for value in values
    )
