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
from tagalong.backend.retraining.job import Job, JobState
from tagalong.backend.retraining.job_store import JobStore
from tagalong.backend.storage.assignments import read_assignments
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
    """The result of trainings that were killed.

    Attributes:
        jobs: The finished job of each project.
        kills: The killed processes, in order.
        accepted: Number of events that the server accepted.
        recorded: Number of events that it stored.
        current: The current version of each project's model.
        assigned: The model that serves each project.
        left: Temporary files left in the model store.
    """

    jobs: tuple[Job, ...]
    kills: tuple[str, ...]
    accepted: int
    recorded: int
    current: tuple[str | None, ...]
    assigned: tuple[str, ...]
    left: tuple[str, ...]

    @property
    def is_promoted(self) -> bool:
        """Whether each project has a version of its own, in its own model."""
        return (
            all(job.state is JobState.PROMOTED for job in self.jobs)
            and self.current == tuple(job.result and job.result.version for job in self.jobs)
            and self.assigned == tuple(f"project-{job.project.id}" for job in self.jobs)
            and len({*self.current}) == len(self.jobs)
        )


def retrain_with_kills(
    folder: Path,
    projects: Sequence[int],
    environment: dict[str, str],
    *,
    chance: random.Random,
    seconds: float,
    kills: int = MAX_KILLS,
    victims: Sequence[str] = VICTIMS,
) -> RetrainingResult:
    """Press the train buttons, and kill trainer and server until all trainings have ended.

    Args:
        folder: Folder with a model store.
        projects: Projects to train on.
        environment: Environment of the server.
        chance: Source of random moments and processes.
        seconds: Duration of an undisturbed training.
        kills: Maximum number of kills of one training.
        victims: Processes that may be killed.

    Returns:
        The result.
    """
    store, jobs = ModelStore(folder / "models"), JobStore(folder / "models")
    killed_processes: list[str] = []
    killed_jobs: list[int] = []
    accepted, unstarted = 0, [*projects]
    other_project = max(projects) + 1  # receives the events
    while True:
        with start_server(folder, **environment) as server:
            while unstarted:
                event = {"action": "START_TRAINING", "project": {"id": unstarted[0]}}
                if send_event(server, **event):
                    unstarted.pop(0)
            kill_time = time.monotonic() + chance.uniform(0, seconds)
            killed = ""
            while not killed:
                number = 1000 * len(killed_processes) + accepted
                annotation = {"id": number, "updated_at": "2026-11-22T20:13:55Z"}
                action = "ANNOTATION_CREATED"
                accepted += send_event(
                    server, action=action, project=other_project, annotation=annotation
                )
                all_jobs = jobs.list_latest(limit=99)[::-1]
                if all(job.state.is_finished for job in all_jobs):
                    jobs.close()
                    kept = (tuple(killed_processes), accepted, len(server.events(other_project)))
                    return _read_result(store, tuple(all_jobs), *kept)
                job = next((one for one in all_jobs if one.pid), None)
                if job and killed_jobs.count(job.id) < kills and time.monotonic() >= kill_time:
                    killed = chance.choice(victims)
                    if killed != "server":
                        _kill(job.pid)
                    if killed != "trainer":
                        os.killpg(server.group, signal.SIGKILL)
                    killed_processes.append(killed)
                    killed_jobs.append(job.id)
                    _verify(store)
                    if killed == "trainer":
                        killed, kill_time = "", time.monotonic() + chance.uniform(0, seconds)
                time.sleep(0.1)


def _read_result(
    store: ModelStore, jobs: tuple[Job, ...], kills: tuple[str, ...], accepted: int, recorded: int
) -> RetrainingResult:
    leftover_files = tuple(
        path.name
        for path in store.root.rglob("*")
        if path.name.startswith((".staging-", ".training-", "training-"))
        and not path.name.endswith((".log", ".lock"))
    )
    current = tuple(store.promoted_version(f"project-{job.project.id}") for job in jobs)
    # Events of a test name the number of a project only, so its key is found by that.
    models = {int(key.split(".")[0]): one for key, one in read_assignments(store.root).items()}
    assigned = tuple(models.get(job.project.id, {}).get(job.tier, job.tier) for job in jobs)
    return RetrainingResult(jobs, kills, accepted, recorded, current, assigned, leftover_files)


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
