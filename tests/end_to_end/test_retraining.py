"""Retraining by the server with a real Label Studio: triggers, promotion and kills."""

import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tagalong.backend.demo.label_studio_server import LabelStudioServer
from tagalong.backend.label_studio.results import result_from_spans
from tagalong.backend.retraining.job import Job, JobState
from tagalong.backend.retraining.job_store import JobStore
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.document import Document, Span
from tagalong.training.corpus.hash_split import split_off_held_out
from tagalong.training.recipes.schedule import Schedule
from tests.chaos.retraining_runs import (
    create_annotated_project,
    publish_weak_version,
    retrain_with_kills,
    send_event,
)
from tests.end_to_end.backend_project import CONFIG, BackendProject, create_backend_project
from tests.end_to_end.server_process import ServerProcess, start_server
from tests.end_to_end.test_label_studio import annotate, wait_for
from tests.toy_corpus import LABELS, toy_documents

HELD_OUT_SHARE = 0.2  # share that `tagalong retrain` holds out
RETRAIN_AFTER = 30  # annotations that start a training
QUICK = Schedule(epochs=2, patience=2, learning_rate=3e-3, batch_tokens=64, precision="fp32")
PRELABELLED = 20  # tasks that a new version predicts
TRAINING_TIMEOUT_SECONDS = 300.0  # enough for busy machines


@dataclass(frozen=True)
class RetrainedProject:
    """A server with a first version, and a project of toy documents."""

    server: ServerProcess
    project: BackendProject
    documents: dict[int, Document]  # by task
    environment: dict[str, str]  # of the server

    @property
    def version(self) -> str:
        """The version that serves the project."""
        (backend,) = self.project.client.ml_backends.list_for_project(self.project.id)
        return backend.model_version

    @property
    def jobs(self) -> list[Job]:
        """Retraining jobs, oldest first."""
        jobs = JobStore(self.server.models)
        try:
            return jobs.list_latest(limit=99)[::-1]
        finally:
            jobs.close()

    def annotate(self, tasks: Sequence[int]) -> None:
        """Submit correct annotations."""
        for task in tasks:
            self.submit(task, self.documents[task].spans)

    def submit(self, task: int, spans: Sequence[Span]) -> None:
        """Submit an annotation."""
        annotate(self.project, task, result_from_spans(self.documents[task], spans, CONFIG))

    def press_train_button(self) -> None:
        """Press the train button."""
        self.project.call("POST", f"api/ml/{self.project.backend.id}/train", {})

    def wait_for_job(self, number: int) -> Job:
        """Wait for the end of a job, counted from 1."""
        wait_for(
            lambda: len(self.jobs) >= number and self.jobs[number - 1].state.is_finished,
            seconds=TRAINING_TIMEOUT_SECONDS,
        )
        return self.jobs[number - 1]


@pytest.fixture(scope="module")
def retrained(
    label_studio: LabelStudioServer,
    tiny_base: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RetrainedProject]:
    folder = tmp_path_factory.mktemp("school")
    publish_weak_version(ModelStore(folder / "models"), tiny_base("bert-uncased"), QUICK)
    documents = toy_documents(220, seed=2)
    environment = {
        "LABEL_STUDIO_URL": label_studio.url,
        "LABEL_STUDIO_API_KEY": label_studio.account.token,
        "TAGALONG_RETRAIN_AFTER": str(RETRAIN_AFTER),
        "TAGALONG_RETRAIN_PRELABEL": str(PRELABELLED),
        "HF_HUB_OFFLINE": "1",
    }
    with (
        start_server(folder, **environment) as server,
        create_backend_project(
            label_studio, server.url, [one.text for one in documents]
        ) as project,
    ):
        by_task = dict(zip(project.texts, documents, strict=True))
        yield RetrainedProject(server, project, by_task, environment)


def assert_served(retrained: RetrainedProject, job: Job) -> None:
    """Check that the version of a job is served and shown in Label Studio."""
    outcome = job.result
    assert outcome is not None
    assert job.state is JobState.PROMOTED, outcome.reason
    wait_for(lambda: retrained.version == outcome.version)
    project = retrained.project.client.get_project(retrained.project.id)
    assert str(job.project) == project.key
    assert project.model_version == outcome.version
    (backend,) = retrained.project.client.ml_backends.list_for_project(retrained.project.id)
    assert backend.title == backend.model_version == outcome.version


def test_train_button_trains_and_promotes_a_version(retrained: RetrainedProject) -> None:
    tasks = list(retrained.documents)
    retrained.annotate(tasks[: RETRAIN_AFTER - 1])
    retrained.press_train_button()
    job = retrained.wait_for_job(1)
    assert job.reason == "the train button"
    assert_served(retrained, job)
    assert job.result is not None
    following = tasks[RETRAIN_AFTER - 1 : RETRAIN_AFTER - 1 + PRELABELLED]
    assert list(retrained.project.stored(job.result.version)) == following
    assert job.result.documents + job.result.held_out == RETRAIN_AFTER - 1
    assert job.result.strata[0].new > (job.result.strata[0].current or 0)


def test_enough_annotations_start_a_training(retrained: RetrainedProject) -> None:
    before = retrained.version
    tasks = list(retrained.documents)
    retrained.annotate(tasks[RETRAIN_AFTER - 1 : 2 * RETRAIN_AFTER - 1])
    job = retrained.wait_for_job(2)
    assert job.reason == f"{RETRAIN_AFTER} new or changed annotations"
    assert_served(retrained, job)
    assert job.result is not None
    assert job.result.compared_version == before
    assert job.result.documents + job.result.held_out == 2 * RETRAIN_AFTER - 1


def test_scores_are_shown_and_the_most_uncertain_task_comes_next(
    retrained: RetrainedProject,
) -> None:
    version = retrained.version
    client, project = retrained.project.client, retrained.project.id
    client.predictions.retrieve(project)
    stored = retrained.project.stored(version)
    assert stored.keys() == retrained.documents.keys()
    client.update_project(project, sampling="Uncertainty sampling")
    free = list(retrained.documents)[2 * RETRAIN_AFTER - 1 :]
    following = retrained.project.call("GET", f"api/projects/{project}/next")
    assert following["id"] == min(free, key=lambda task: stored[task].score or 0)


def test_worse_version_is_not_promoted(retrained: RetrainedProject) -> None:
    before = retrained.version
    chance = random.Random(5)
    tasks = list(retrained.documents)[2 * RETRAIN_AFTER - 1 :]
    learnt, held_out = split_off_held_out(
        [retrained.documents[task] for task in tasks], HELD_OUT_SHARE
    )
    assert held_out
    ids = {one.id for one in learnt}
    for task in tasks:
        document = retrained.documents[task]
        spans = document.spans
        if document.id in ids:  # wrong in train, correct in the held-out documents
            spans = tuple(replace(one, label=chance.choice(LABELS)) for one in spans[::2])
        retrained.submit(task, spans)
    job = retrained.wait_for_job(3)
    assert job.result is not None
    assert job.state is JobState.REJECTED, job.result
    assert "worse beyond noise" in job.result.reason
    assert retrained.version == before
    assert job.result.version in ModelStore(retrained.server.models).version_names(job.result.model)


def test_trainings_are_on_the_status_page_and_in_metrics(retrained: RetrainedProject) -> None:
    page = retrained.server.read("/", accept="text/html")
    for words in ("Promoted", "Not promoted", "the train button", "worse beyond noise"):
        assert words in page
    assert 'tagalong_trainings_total{state="promoted",tier="encoder"} 2.0' in retrained.server.read(
        "/metrics"
    )


def copy_first_version(retrained: RetrainedProject, folder: Path) -> None:
    """Copy the store, with the first version as the current one."""
    shutil.copytree(retrained.server.models / "encoder", folder / "models" / "encoder")
    store = ModelStore(folder / "models")
    store.promote("encoder", store.version_names("encoder")[0])


def test_stopped_server_stops_its_training_and_the_next_resumes_it(
    retrained: RetrainedProject, label_studio: LabelStudioServer, tmp_path: Path
) -> None:
    project = create_annotated_project(label_studio, list(retrained.documents.values())[:40])
    copy_first_version(retrained, tmp_path)
    jobs = JobStore(tmp_path / "models")
    with start_server(tmp_path, **retrained.environment) as server:
        assert send_event(server, action="START_TRAINING", project={"id": project})
        wait_for(lambda: jobs.list_latest(limit=1)[0].pid > 0, seconds=TRAINING_TIMEOUT_SECONDS)
        (begun,) = jobs.list_latest(limit=1)
        assert Path(f"/proc/{begun.pid}").exists()
    assert not Path(f"/proc/{begun.pid}").exists()
    assert not jobs.list_latest(limit=1)[0].state.is_finished
    with start_server(tmp_path, **retrained.environment):
        wait_for(
            lambda: jobs.list_latest(limit=1)[0].state.is_finished, seconds=TRAINING_TIMEOUT_SECONDS
        )
    (job,) = jobs.list_latest(limit=1)
    assert job.state is JobState.PROMOTED, job.result
    assert job.attempts == 1  # the stopped attempt is not counted
    jobs.close()


def test_killed_trainer_or_server_gives_the_same_version(
    retrained: RetrainedProject, label_studio: LabelStudioServer, tmp_path: Path
) -> None:
    """A short version of ``tests/chaos/kill_retraining.py``."""
    project = create_annotated_project(label_studio, list(retrained.documents.values())[:40])
    versions = []
    for number, victims in enumerate([(), ("trainer",), ("both",)]):
        folder = tmp_path / str(number)
        copy_first_version(retrained, folder)
        found = retrain_with_kills(
            folder,
            [project],
            retrained.environment,
            chance=random.Random(number),
            seconds=3.0,  # less than the import of torch takes
            kills=len(victims),
            victims=victims,
        )
        assert found.kills == victims
        assert found.recorded == found.accepted
        assert found.left == ()
        assert found.is_promoted, found.jobs
        versions.append(found.current)
    assert len(set(versions)) == 1
