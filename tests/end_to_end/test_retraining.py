"""The loop against a real Label Studio: annotate, train, judge, promote, and what comes next."""

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

SHARE = 0.2  # of what is annotated, held out by `tagalong retrain`
ENOUGH = 30  # annotations after which a training begins by itself
QUICK = Schedule(epochs=12, patience=12, learning_rate=3e-3, batch_tokens=64, precision="fp32")
PRELABELLED = 20  # tasks that a new version predicts at once
LONG = 300.0  # seconds: a training, on machines however busy


@dataclass(frozen=True)
class School:
    """Our server with a first version, and a project whose tasks are toy documents."""

    ours: ServerProcess
    project: BackendProject
    documents: dict[int, Document]  # by task
    environment: dict[str, str]  # of our server

    @property
    def runs(self) -> list[Job]:
        """Trainings, the first first."""
        runs = JobStore(self.ours.models)
        try:
            return runs.list_latest(limit=99)[::-1]
        finally:
            runs.close()

    def annotate(self, tasks: Sequence[int]) -> None:
        """Submit what is right."""
        for task in tasks:
            self.submit(task, self.documents[task].spans)

    def submit(self, task: int, spans: Sequence[Span]) -> None:
        """Submit anything."""
        annotate(self.project, task, result_from_spans(self.documents[task], spans, CONFIG))

    def press(self) -> None:
        """Press the train button."""
        self.project.call("POST", f"api/ml/{self.project.backend.id}/train", {})

    def trained(self, number: int) -> Job:
        """The training of that number, from 1, once it has ended."""
        wait_for(
            lambda: len(self.runs) >= number and self.runs[number - 1].state.is_finished,
            seconds=LONG,
        )
        return self.runs[number - 1]


@pytest.fixture(scope="module")
def school(
    label_studio: LabelStudioServer,
    tiny_base: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[School]:
    folder = tmp_path_factory.mktemp("school")
    publish_weak_version(ModelStore(folder / "models"), tiny_base("bert-uncased"), QUICK)
    documents = toy_documents(220, seed=2)
    environment = {
        "LABEL_STUDIO_URL": label_studio.url,
        "LABEL_STUDIO_API_KEY": label_studio.account.token,
        "TAGALONG_RETRAIN_AFTER": str(ENOUGH),
        "TAGALONG_RETRAIN_PRELABEL": str(PRELABELLED),
        "HF_HUB_OFFLINE": "1",
    }
    with (
        start_server(folder, **environment) as ours,
        create_backend_project(label_studio, ours.url, [one.text for one in documents]) as project,
    ):
        by_task = dict(zip(project.texts, documents, strict=True))
        yield School(ours, project, by_task, environment)


def assert_served(school: School, run: Job) -> None:
    """What a run has made serves, and Label Studio goes by it."""
    outcome = run.result
    assert outcome is not None
    assert run.state is JobState.PROMOTED, outcome.reason
    wait_for(lambda: school.ours.version == outcome.version)
    project = school.project.studio.get_project(school.project.id)
    assert project.model_version == outcome.version
    (backend,) = school.project.studio.ml_backends.list_for_project(school.project.id)
    assert backend.title == backend.model_version == outcome.version


def test_the_train_button_makes_a_version_that_serves(school: School) -> None:
    tasks = list(school.documents)
    school.annotate(tasks[: ENOUGH - 1])
    school.press()
    run = school.trained(1)
    assert run.reason == "the train button"
    assert_served(school, run)
    assert run.result is not None
    following = tasks[ENOUGH - 1 : ENOUGH - 1 + PRELABELLED]
    assert list(school.project.stored(run.result.version)) == following
    assert run.result.documents + run.result.held_out == ENOUGH - 1
    assert run.result.strata[0].new > (run.result.strata[0].current or 0)


def test_annotations_alone_do_it_too(school: School) -> None:
    before = school.ours.version
    tasks = list(school.documents)
    school.annotate(tasks[ENOUGH - 1 : 2 * ENOUGH - 1])
    run = school.trained(2)
    assert run.reason == f"{ENOUGH} new or changed annotations"
    assert_served(school, run)
    assert run.result is not None
    assert run.result.current_version == before
    assert run.result.documents + run.result.held_out == 2 * ENOUGH - 1


def test_scores_fill_the_column_and_the_least_sure_task_comes_next(school: School) -> None:
    version = school.ours.version
    assert version is not None
    studio, project = school.project.studio, school.project.id
    studio.predictions.retrieve(project)
    stored = school.project.stored(version)
    assert stored.keys() == school.documents.keys()
    studio.update_project(project, sampling="Uncertainty sampling")
    free = list(school.documents)[2 * ENOUGH - 1 :]
    following = school.project.call("GET", f"api/projects/{project}/next")
    assert following["id"] == min(free, key=lambda task: stored[task].score or 0)


def test_a_version_that_is_worse_is_kept_back(school: School) -> None:
    before = school.ours.version
    chance = random.Random(5)
    tasks = list(school.documents)[2 * ENOUGH - 1 :]
    learnt, held_out = split_off_held_out([school.documents[task] for task in tasks], SHARE)
    assert held_out
    ids = {one.id for one in learnt}
    for task in tasks:
        document = school.documents[task]
        spans = document.spans
        if document.id in ids:  # what is learnt from is wrong, what is judged by is right
            spans = tuple(replace(one, label=chance.choice(LABELS)) for one in spans[::2])
        school.submit(task, spans)
    run = school.trained(3)
    assert run.result is not None
    assert run.state is JobState.REJECTED, run.result
    assert "worse beyond noise" in run.result.reason
    assert school.ours.version == before
    assert run.result.version in ModelStore(school.ours.models).version_names("encoder")


def test_the_page_and_the_metrics_tell(school: School) -> None:
    page = school.ours.read("/", accept="text/html")
    for words in ("Promoted", "Not promoted", "the train button", "worse beyond noise"):
        assert words in page
    assert 'tagalong_trainings_total{state="promoted",tier="encoder"} 2.0' in school.ours.read(
        "/metrics"
    )


def start_over(school: School, folder: Path) -> None:
    """The first version as it was, in another folder."""
    shutil.copytree(school.ours.models / "encoder", folder / "models" / "encoder")
    store = ModelStore(folder / "models")
    store.promote("encoder", store.version_names("encoder")[0])


def test_a_server_that_is_stopped_ends_its_training_and_the_next_goes_on_with_it(
    school: School, label_studio: LabelStudioServer, tmp_path: Path
) -> None:
    project = create_annotated_project(label_studio, list(school.documents.values())[:40])
    start_over(school, tmp_path)
    runs = JobStore(tmp_path / "models")
    with start_server(tmp_path, **school.environment) as ours:
        assert send_event(ours, action="START_TRAINING", project={"id": project})
        wait_for(lambda: runs.list_latest(limit=1)[0].pid > 0, seconds=LONG)
        (begun,) = runs.list_latest(limit=1)
        assert Path(f"/proc/{begun.pid}").exists()
    assert not Path(f"/proc/{begun.pid}").exists()
    assert not runs.list_latest(limit=1)[0].state.is_finished
    with start_server(tmp_path, **school.environment):
        wait_for(lambda: runs.list_latest(limit=1)[0].state.is_finished, seconds=LONG)
    (run,) = runs.list_latest(limit=1)
    assert run.state is JobState.PROMOTED, run.result
    assert run.attempts == 1  # the first one ended in order
    runs.close()


def test_whoever_is_killed_nothing_is_lost_and_the_training_ends_the_same(
    school: School, label_studio: LabelStudioServer, tmp_path: Path
) -> None:
    """A short version of ``tests/chaos/kill_retraining.py``."""
    project = create_annotated_project(label_studio, list(school.documents.values())[:40])
    versions = []
    for number, victims in enumerate([(), ("trainer",), ("both",)]):
        folder = tmp_path / str(number)
        start_over(school, folder)
        found = retrain_with_kills(
            folder,
            project,
            school.environment,
            chance=random.Random(number),
            seconds=3.0,  # it takes longer than that to import torch
            kills=len(victims),
            victims=victims,
        )
        assert found.kills == victims
        assert found.recorded == found.taken
        assert found.left == ()
        assert found.run.state is JobState.PROMOTED, found.run.result
        versions.append(found.current)
    assert len(set(versions)) == 1
