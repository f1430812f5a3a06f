"""Retrainings of a toy project, killed at random moments, and their required results."""

import json
import os
import random
import signal
import time
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tagalong.backend.demo.label_studio_server import LabelStudioServer
from tagalong.backend.demo.provision import read_demo_label_config
from tagalong.backend.label_studio.api.client import LabelStudioClient
from tagalong.backend.label_studio.label_config_parser import parse_label_config
from tagalong.backend.label_studio.results import result_from_spans
from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.retraining.job import Job
from tagalong.backend.retraining.job_store import JobStore
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.document import Document
from tagalong.ner.manifest import read_manifest
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.encoder.train import train_encoder
from tagalong.training.jobs.publish import publish
from tagalong.training.recipes.encoder_recipe import EncoderRecipe
from tagalong.training.recipes.schedule import Schedule
from tests.end_to_end.server_process import ServerProcess, start_server
from tests.toy_corpus import LABELS, toy_documents

VICTIMS = ("trainer", "server", "both")
MAX_KILLS = 2  # of one training: a server gives up after the third attempt
CONFIG = parse_label_config(read_demo_label_config())


def publish_weak_version(store: ModelStore, base: Path, schedule: Schedule) -> str:
    """Publish and promote a weak version: few documents, with a recipe that does well on more."""
    documents = toy_documents(6, seed=1)
    split = TrainDevSplit(documents[:4], documents[4:], LABELS, ("first",))
    recipe = EncoderRecipe(base=BaseModelRef(str(base)), adapter=None, schedule=schedule)
    state_path = store.root / ".state"
    trained = train_encoder(split, recipe=recipe, state_path=state_path)
    manifest = publish(trained, split, store=store, tier="encoder", name="first")
    store.promote("encoder", manifest.version)
    return manifest.version


def create_annotated_project(
    running: LabelStudioServer, documents: Sequence[Document], config: str = ""
) -> int:
    """Create a project whose tasks all have gold annotations."""
    with running.connect() as client:
        project = client.create_project("Retraining", config or read_demo_label_config()).id
        add_annotated_tasks(client, project, documents)
    return project


def add_annotated_tasks(
    client: LabelStudioClient, project: int, documents: Sequence[Document]
) -> None:
    """Add tasks with gold annotations to a project."""
    client.tasks.add(
        project,
        [
            {
                "data": {"text": one.text},
                "annotations": [{"result": result_from_spans(one, one.spans, CONFIG)}],
            }
            for one in documents
        ],
    )


def send_event(server: ServerProcess, **event: object) -> bool:
    """Send an event as Label Studio does; returns whether it was accepted."""
    request = urllib.request.Request(
        f"{server.url}/webhook",
        data=json.dumps(event).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return bool(answer.status == 201)
    except OSError:
        return False


@dataclass(frozen=True)
class RetrainingResult:
    """The result of a training that was killed.

    Attributes:
        job: The finished job.
        kills: The killed processes, in order.
        accepted: Number of events that the server accepted.
        recorded: Number of events that it stored.
        current: The current version of the project's model.
        left: Temporary files left in the model store.
    """

    job: Job
    kills: tuple[str, ...]
    accepted: int
    recorded: int
    current: str | None
    left: tuple[str, ...]


def retrain_with_kills(
    folder: Path,
    project: int,
    environment: dict[str, str],
    *,
    chance: random.Random,
    seconds: float,
    kills: int = MAX_KILLS,
    victims: Sequence[str] = VICTIMS,
) -> RetrainingResult:
    """Press the train button, and kill trainer and server until the training has ended.

    Args:
        folder: Folder with a model store.
        project: Project to train on.
        environment: Environment of the server.
        chance: Source of random moments and processes.
        seconds: Duration of an undisturbed training.
        kills: Maximum number of kills.
        victims: Processes that may be killed.

    Returns:
        The result.
    """
    store, jobs = ModelStore(folder / "models"), JobStore(folder / "models")
    killed_processes: list[str] = []
    accepted, is_started = 0, False
    while True:
        with start_server(folder, **environment) as server:
            while not is_started:
                is_started = send_event(server, action="START_TRAINING", project={"id": project})
            kill_time = time.monotonic() + chance.uniform(0, seconds)
            killed = ""
            while not killed:
                number = 1000 * len(killed_processes) + accepted
                annotation = {"id": number, "updated_at": "2026-11-22T20:13:55Z"}
                action = "ANNOTATION_CREATED"
                accepted += send_event(
                    server, action=action, project=project + 1, annotation=annotation
                )
                [job] = jobs.list_latest(limit=1)
                if job.state.is_finished:
                    leftover_files = tuple(
                        path.name
                        for path in (folder / "models").rglob("*")
                        if path.name.startswith((".staging-", ".training-", "training-"))
                        and not path.name.endswith((".log", ".lock"))
                    )
                    recorded = _recorded(server, project + 1)
                    current = store.promoted_version(f"project-{project}")
                    jobs.close()
                    return RetrainingResult(
                        job, tuple(killed_processes), accepted, recorded, current, leftover_files
                    )
                if len(killed_processes) < kills and job.pid and time.monotonic() >= kill_time:
                    killed = chance.choice(victims)
                    if killed != "server":
                        _kill(job.pid)
                    if killed != "trainer":
                        os.killpg(server.group, signal.SIGKILL)
                    killed_processes.append(killed)
                    _verify(store)
                    if killed == "trainer":
                        killed, kill_time = "", time.monotonic() + chance.uniform(0, seconds)
                time.sleep(0.1)


def _kill(process: int) -> None:
    """Kill a trainer that may have ended already."""
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def _verify(store: ModelStore) -> None:
    """Check that the current versions are complete, and that the default model has one."""
    current = {model: store.promoted_version(model) for model in store.models()}
    assert current["encoder"]
    for model, version in current.items():
        if version is not None:
            read_manifest(store.version_folder(model, version))


def _recorded(server: ServerProcess, project: int) -> int:
    """Count the stored events of a project."""
    return len(server.events(project))
