"""Two projects with different labels on one server, each with its own model."""

import itertools
import json
import random
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from typer.testing import CliRunner

from tagalong.backend.demo.label_studio_server import LabelStudioServer
from tagalong.backend.demo.provision import read_demo_label_config
from tagalong.backend.label_studio.api.client import LabelStudioClient
from tagalong.backend.label_studio.api.objects import MLBackend
from tagalong.backend.retraining.job import Job, JobState
from tagalong.backend.retraining.job_store import JobStore
from tagalong.backend.storage.assignments import read_assignments
from tagalong.backend.storage.model_store import ModelStore
from tagalong.cli.main import app
from tagalong.ner.document import Document
from tagalong.training.recipes.schedule import Schedule
from tests.chaos.retraining_runs import create_annotated_project, publish_weak_version
from tests.end_to_end.server_process import ServerProcess, start_server
from tests.end_to_end.test_label_studio import wait_for
from tests.toy_corpus import toy_documents

ANNOTATED = 30
FREE = 8
OTHER_LABELS = {"Chemical": "Gene", "Disease": "Process"}
QUICK = Schedule(epochs=2, patience=2, learning_rate=3e-3, batch_tokens=64, precision="fp32")
TRAINING_TIMEOUT_SECONDS = 300.0  # enough for busy machines

Prediction = tuple[str, list[Any]]  # version and results


@dataclass(frozen=True)
class ConnectedProject:
    """An annotated project that `tagalong connect` has connected."""

    client: LabelStudioClient
    server: ServerProcess
    id: int
    config: str
    free: dict[int, str]  # texts of the tasks without annotations

    @property
    def backend(self) -> MLBackend:
        (backend,) = self.client.ml_backends.list_for_project(self.id)
        return backend

    @property
    def key(self) -> str:
        return self.client.get_project(self.id).key

    @property
    def model(self) -> str:
        """Name of the model that a retraining makes."""
        return f"project-{self.id}"

    def call(self, method: Any, path: str, body: Any = None) -> Any:
        return self.client.connection.request_json(method, path, body=body)

    def predict(self, key: str) -> Prediction:
        """Ask the server for predictions of the free tasks, as Label Studio does."""
        body = {
            "tasks": [{"id": task, "data": {"text": text}} for task, text in self.free.items()],
            "project": key,
            "label_config": self.config,
        }
        request = urllib.request.Request(
            f"{self.server.url}/predict",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            predictions = json.load(answer)["results"]
        (version,) = {one["model_version"] for one in predictions}
        return version, [_without_ids(one["result"]) for one in predictions]

    def train(self) -> Job:
        """Press the train button, and wait for the end of the training."""
        self.call("POST", f"api/ml/{self.backend.id}/train", {})
        found: list[Job] = []

        def is_finished() -> bool:
            with closing(JobStore(self.server.models)) as jobs:
                found[:] = [one for one in jobs.list_latest(limit=9) if one.project.id == self.id]
            return bool(found) and found[0].state.is_finished

        wait_for(is_finished, seconds=TRAINING_TIMEOUT_SECONDS)
        return found[0]

    def read_state(self) -> dict[str, Any]:
        """What a training or rollback of another project must leave as it is."""
        project = self.client.get_project(self.id)
        return {
            "title": self.backend.title,
            "served": self.backend.model_version,
            "shown": project.model_version,
            "sampling": project.sampling,
            "stored": self.client.predictions.list_for_project(self.id),
            "columns": self.read_scores(),
            "next": self.call("GET", f"api/projects/{self.id}/next")["id"],
            "assigned": read_assignments(self.server.models)[project.key],
            "current": ModelStore(self.server.models).current_version(self.model),
        }

    def read_scores(self) -> dict[int, float | None]:
        """The score column by task."""
        tasks = self.call("GET", f"api/tasks/?project={self.id}&fields=all&page_size=100")["tasks"]
        return {task["id"]: task["predictions_score"] for task in tasks}


def _without_ids(result: list[dict[str, Any]]) -> list[Any]:
    return [{name: value for name, value in one.items() if name != "id"} for one in result]


def rename_labels(document: Document, names: dict[str, str]) -> Document:
    spans = tuple(replace(one, label=names.get(one.label, one.label)) for one in document.spans)
    return replace(document, spans=spans)


@pytest.fixture
def server(
    label_studio: LabelStudioServer, tiny_base: Callable[[str], Path], tmp_path: Path
) -> Iterator[ServerProcess]:
    publish_weak_version(ModelStore(tmp_path / "models"), tiny_base("bert-uncased"), QUICK)
    with start_server(
        tmp_path,
        LABEL_STUDIO_URL=label_studio.url,
        LABEL_STUDIO_API_KEY=label_studio.account.token,
        HF_HUB_OFFLINE="1",
    ) as server:
        yield server


def connect_project(
    running: LabelStudioServer,
    client: LabelStudioClient,
    server: ServerProcess,
    names: dict[str, str],
) -> ConnectedProject:
    """Create an annotated project with these names of labels, and connect it as users do."""
    config = read_demo_label_config()
    for label, name in names.items():
        config = config.replace(f'value="{label}"', f'value="{name}"')
    documents = [
        rename_labels(one, names)
        for one in toy_documents(ANNOTATED + FREE, seed=len(names) + 2, sentences=4)
    ]
    project = create_annotated_project(running, documents[:ANNOTATED], config)
    texts = [one.text for one in documents[ANNOTATED:]]
    tasks = client.tasks.add(project, [{"data": {"text": text}} for text in texts])
    arguments = ["connect", "--project", str(project), "--backend-url", server.url]
    environment = {
        "LABEL_STUDIO_URL": running.url,
        "LABEL_STUDIO_API_KEY": running.account.token,
    }
    found = CliRunner().invoke(app, arguments, env=environment)
    # The doctor names labels that no model predicts before the first training.
    assert (found.exit_code == 0) == (not names), found.output
    return ConnectedProject(client, server, project, config, dict(zip(tasks, texts, strict=True)))


def assert_own_version(project: ConnectedProject, job: Job, labels: set[str]) -> str:
    """Check that the version of a training serves its project, in columns, order and labels."""
    outcome = job.result
    assert outcome is not None
    assert job.state is JobState.PROMOTED, outcome.reason
    assert outcome.model == project.model
    assert str(job.project) == project.key
    version = outcome.version
    assert version is not None
    wait_for(lambda: project.backend.model_version == version)
    project.client.predictions.retrieve(project.id)
    stored = {
        one.task: one
        for one in project.client.predictions.list_for_project(project.id)
        if one.model_version == version
    }
    state = project.read_state()
    assert state["title"] == state["served"] == state["shown"] == state["current"] == version
    assert state["assigned"] == {"encoder": project.model}
    assert state["columns"] == {task: one.score for task, one in stored.items()}
    assert state["next"] == min(project.free, key=lambda task: stored[task].score or 0)
    served, results = project.predict(project.key)
    assert served == version
    found = {label for one in itertools.chain(*results) for label in one["value"]["labels"]}
    assert found
    assert found <= labels
    return version


def predict_until(project: ConnectedProject, stop: Event) -> list[Prediction]:
    """Send one request after the other; returns the different answers."""
    key, answers = project.key, list[Prediction]()
    while not stop.wait(random.uniform(0.05, 0.15)):
        if (answer := project.predict(key)) not in answers:
            answers.append(answer)
    return answers


def test_each_project_gets_its_own_version_and_changes_no_other(
    label_studio: LabelStudioServer, server: ServerProcess
) -> None:
    with label_studio.connect() as client:
        first = connect_project(label_studio, client, server, {})
        second = connect_project(label_studio, client, server, OTHER_LABELS)
        default = ModelStore(server.models).current_version("encoder")
        version = assert_own_version(first, first.train(), {*OTHER_LABELS})
        before, answer = first.read_state(), first.predict(first.key)
        stop = Event()
        with ThreadPoolExecutor(1) as pool:
            answers = pool.submit(predict_until, first, stop)
            try:
                job = second.train()
                other = assert_own_version(second, job, {*OTHER_LABELS.values()})
            finally:
                stop.set()
            assert answers.result() == [answer]  # none failed, none was different
        assert other != version
        assert first.read_state() == before

        models = ["--models", str(server.models)]
        found = CliRunner().invoke(app, ["models", "rollback", second.model, *models])
        assert found.exit_code == 0, found.output
        wait_for(lambda: second.predict(second.key)[0] == default)
        assert first.read_state() == before
        assert first.predict(first.key) == answer
        for project in (first, second):
            client.connection.request_json("DELETE", f"api/projects/{project.id}/")
