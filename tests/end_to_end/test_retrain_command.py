"""``tagalong retrain`` on projects of a real Label Studio, from a shell."""

import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER
from tagalong.backend.demo.label_studio_server import LabelStudioServer
from tagalong.backend.demo.provision import read_demo_label_config
from tagalong.backend.label_studio.api.http_client import PAGE_SIZE
from tagalong.backend.label_studio.api.outage_retry import RateLimitedRetry
from tagalong.backend.retraining.job import JobResult, JobState
from tagalong.backend.retraining.job_store import JobStore
from tagalong.backend.storage.model_store import ModelStore
from tagalong.cli.main import app
from tagalong.ner.errors import StateFileError, TrainingError
from tagalong.ner.manifest import read_manifest
from tagalong.training.jobs.project_data import fetch_annotated_tasks
from tagalong.training.recipes.schedule import Schedule
from tests.chaos.prelabel_runs import ROOT
from tests.chaos.retraining_runs import (
    add_annotated_tasks,
    create_annotated_project,
    publish_weak_version,
)
from tests.end_to_end.backend_project import BackendProject, create_backend_project
from tests.end_to_end.server_process import start_server
from tests.errors import mentions, raises
from tests.toy_corpus import toy_documents

QUICK = Schedule(epochs=12, patience=12, learning_rate=3e-3, batch_tokens=64, precision="fp32")


@dataclass(frozen=True)
class Desk:
    """A project that is annotated, without a backend, and a store with a first version."""

    running: LabelStudioServer
    project: int
    models: Path
    first: str

    def command(self, *arguments: object) -> list[str]:
        return [
            *("retrain", "--models", str(self.models)),
            *(
                "--label-studio-url",
                self.running.url,
                "--label-studio-key",
                self.running.account.token,
            ),
            *map(str, arguments),
        ]

    def run(self, *arguments: object, code: int = 0) -> Result:
        result = CliRunner().invoke(app, self.command(*arguments))
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result


@pytest.fixture(scope="module")
def made(
    label_studio: LabelStudioServer,
    tiny_base: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Desk:
    store = ModelStore(tmp_path_factory.mktemp("desk") / "models")
    first = publish_weak_version(store, tiny_base("bert-uncased"), QUICK)
    project = create_annotated_project(label_studio, toy_documents(50, seed=2))
    return Desk(label_studio, project, store.root, first)


@pytest.fixture
def desk(made: Desk, tmp_path: Path) -> Desk:
    """The same with a store of its own."""
    shutil.copytree(made.models, tmp_path / "models")
    return Desk(made.running, made.project, tmp_path / "models", made.first)


def test_it_trains_judges_and_promotes_and_then_there_is_nothing_new(desk: Desk) -> None:
    first: dict[str, Any] = json.loads(desk.run("--project", desk.project, "--json").stdout)
    assert first["state"] == "promoted"
    assert first["against"] == desk.first
    assert first["documents"] + first["held_out"] == 50
    assert ModelStore(desk.models).promoted_version("encoder") == first["version"]
    assert any("No backend of the project serves" in note for note in first["notes"]), first[
        "notes"
    ]
    again = desk.run("--project", desk.project, "--recipe-from", desk.first, "--json")
    nothing_new = json.loads(again.stdout)
    assert (nothing_new["state"], nothing_new["version"]) == ("kept", first["version"])
    assert ModelStore(desk.models).promoted_version("encoder") == first["version"]
    assert not list((desk.models / ".server").glob("training-*/"))
    warm = json.loads(desk.run("--project", desk.project, "--warm-start", "--json").stdout)
    assert warm["version"] != first["version"]
    manifest = read_manifest(ModelStore(desk.models).version_folder("encoder", warm["version"]))
    assert manifest.data["start"] == first["version"]


def test_a_version_can_be_kept_back_whatever_it_is_worth(desk: Desk) -> None:
    result = desk.run("--project", desk.project, "--promote", "never", "--name", "kept")
    assert "'never'" in result.stderr
    assert "three" not in result.stdout
    assert "0." in result.stdout  # the table
    assert ModelStore(desk.models).promoted_version("encoder") == desk.first
    assert any(
        name.startswith("kept-") for name in ModelStore(desk.models).version_names("encoder")
    )


def test_what_cannot_be_learnt_from_is_told_and_noted(desk: Desk) -> None:
    with desk.running.connect() as studio:
        empty = studio.create_project("Empty", read_demo_label_config()).id
    result = desk.run("--project", empty, code=1)
    mentions(result.stderr, "no-annotated-tasks")
    mentions(desk.run("--project", 987654, code=1).stderr, "label-studio-missing")
    wrong = desk.run("--project", desk.project, "--label-studio-key", "0" * 40, code=1)
    mentions(wrong.stderr, "label-studio-key")
    runs = JobStore(desk.models)
    assert [run.state for run in runs.list_latest(limit=9)] == [JobState.FAILED] * 3
    runs.close()


def test_a_project_that_is_gone_when_it_is_trained_gets_no_promotion(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = create_annotated_project(desk.running, toy_documents(20, seed=3))
    from tagalong.training.jobs import retrain_project

    decide = retrain_project.decide_promotion

    def gone(*arguments: Any, **options: Any) -> Any:
        with desk.running.connect() as studio:
            studio.connection.request_json("DELETE", f"api/projects/{project}/")
        return decide(*arguments, **options)

    monkeypatch.setattr(retrain_project, "decide_promotion", gone)
    result = desk.run("--project", project, "--promote", "always")
    assert f"project-{project}-" in result.stderr
    assert ModelStore(desk.models).promoted_version("encoder") == desk.first


def test_a_version_is_promoted_once_whatever_serves_when_its_training_goes_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ModelStore(desk.models)

    def rolled_back(*_: object, **__: object) -> int:
        """Somebody does not like what came of it, and the process ends before the training has."""
        assert store.rollback("encoder") == desk.first
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("tagalong.training.jobs.retrain.prelabel_next_tasks", rolled_back)
        desk.run("--project", desk.project, "--prelabel", 5, code=130)
    result = json.loads(desk.run("--project", desk.project, "--prelabel", 5, "--json").stdout)
    assert store.promoted_version("encoder") == desk.first
    assert result["state"] == "kept"
    assert desk.first in result["reason"]
    assert not result["notes"]  # nothing was announced, and nothing pre-labelled


def test_a_promotion_that_cannot_be_noted_is_one_all_the_same(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide = JobStore.write_decision

    def busy(runs: JobStore, number: int, outcome: JobResult) -> None:
        if outcome.was_promoted:
            raise StateFileError("the file is locked")
        decide(runs, number, outcome)

    monkeypatch.setattr(JobStore, "write_decision", busy)
    result = json.loads(desk.run("--project", desk.project, "--json").stdout)
    assert result["state"] == "promoted"
    assert ModelStore(desk.models).promoted_version("encoder") == result["version"]
    assert result["notes"]  # Label Studio was asked whose backend serves it


def test_no_version_takes_the_place_of_one_that_it_was_not_judged_beside(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ModelStore(desk.models)
    with store.staging_folder("encoder") as folder:
        shutil.copytree(store.version_folder("encoder", desk.first), folder, dirs_exist_ok=True)
        (folder / "manifest.json").unlink()
        draft = replace(read_manifest(store.version_folder("encoder", desk.first)), name="other")
        other = store.publish(folder, draft).version

    def meanwhile(*_: object) -> None:
        """Somebody promotes another version, and the process ends."""
        store.promote("encoder", other)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("tagalong.training.jobs.retrain.promote_version", meanwhile)
        desk.run("--project", desk.project, code=130)
    result = json.loads(desk.run("--project", desk.project, "--json").stdout)
    assert store.promoted_version("encoder") == other
    assert result["state"] == "kept"
    assert result["against"] == desk.first
    assert result["reason"].startswith(f"{other} is current now")


def other_reason(desk: Desk, other: BackendProject) -> str:
    return f"{desk.first} also serves project {other.id} (Both), and all projects of a server"


def test_no_project_replaces_the_version_of_another(desk: Desk, tmp_path: Path) -> None:
    store = ModelStore(desk.models)
    with (
        start_server(tmp_path) as ours,
        create_backend_project(desk.running, ours.url, ["Naloxone."], title="Both") as other,
    ):
        kept = json.loads(desk.run("--project", desk.project, "--json").stdout)
        assert kept["state"] == "kept"
        assert other_reason(desk, other) in kept["reason"]
        assert "would lose" not in kept["reason"]  # the labels are the same
        assert f"`tagalong models promote {kept['version']}`" in kept["reason"]
        assert kept["strata"]  # it was judged all the same
        assert store.current_version("encoder") == desk.first
        other.studio.ml_backends.remove(other.backend.id)
        alone = json.loads(desk.run("--project", desk.project, "--json").stdout)
    assert (alone["state"], alone["version"]) == ("promoted", kept["version"])


def test_a_project_with_a_server_of_its_own_is_not_affected(desk: Desk, tmp_path: Path) -> None:
    shutil.copytree(desk.models, tmp_path / "second" / "models")
    with (
        start_server(tmp_path),
        start_server(tmp_path / "second") as second,
        create_backend_project(desk.running, second.url, ["Naloxone."], title="Both") as other,
    ):
        assert other.backend.model_version == desk.first  # the same version, in another folder
        result = json.loads(desk.run("--project", desk.project, "--json").stdout)
    assert result["state"] == "promoted"


def test_the_reason_names_the_labels_that_another_project_would_lose(
    desk: Desk, tmp_path: Path
) -> None:
    documents = [
        replace(one, spans=tuple(span for span in one.spans if span.label == "Chemical"))
        for one in toy_documents(50, seed=2)
    ]
    narrow = read_demo_label_config().replace('<Label value="Disease"', '<Label value="Gene"')
    project = create_annotated_project(desk.running, documents, narrow)
    with (
        start_server(tmp_path) as ours,
        create_backend_project(desk.running, ours.url, ["Naloxone."], title="Both") as other,
    ):
        kept = json.loads(desk.run("--project", project, "--json").stdout)
    assert kept["state"] == "kept"
    assert other_reason(desk, other) in kept["reason"]
    assert f"Project {other.id} would lose Disease." in kept["reason"]


def test_a_thousand_documents_are_not_traded_for_twenty_four(desk: Desk) -> None:
    store = ModelStore(desk.models)
    (desk.models / "encoder" / "current").unlink()  # the bundled version is served
    project = create_annotated_project(desk.running, toy_documents(24, seed=6))
    arguments = ("--project", project, "--recipe-from", desk.first, "--json")
    kept = json.loads(desk.run(*arguments).stdout)
    assert (kept["state"], kept["against"]) == (
        "kept",
        ModelStore(BUNDLED_MODELS_FOLDER).promoted_version("encoder"),
    )
    assert kept["strata"][0]["new"] >= kept["strata"][0]["old"]  # which six documents cannot prove
    assert "labels that the current version knows (Chemical " in kept["reason"]
    assert f"it has {kept['held_out']} documents with" in kept["reason"]
    assert f"about {5 * (20 - kept['held_out'])} more documents" in kept["reason"]
    assert store.promoted_version("encoder") is None
    assert json.loads(desk.run(*arguments, "--promote", "always").stdout)["state"] == "promoted"


def test_all_that_is_annotated_is_read_page_by_page(desk: Desk) -> None:
    documents = toy_documents(PAGE_SIZE + 1, seed=4)
    project = create_annotated_project(desk.running, documents[:PAGE_SIZE])
    with desk.running.connect() as studio:
        studio.tasks.add(project, [{"data": {"text": "Nobody has annotated this."}}])
        full = list(fetch_annotated_tasks(studio, project, RateLimitedRetry()))
        add_annotated_tasks(studio, project, documents[PAGE_SIZE:])
        more = list(fetch_annotated_tasks(studio, project, RateLimitedRetry()))
    assert [task["data"]["text"] for task in full] == [one.text for one in documents[:PAGE_SIZE]]
    assert [task["data"]["text"] for task in more] == [one.text for one in documents]


def test_a_full_disk_is_told_and_what_serves_serves_on(desk: Desk) -> None:
    # A limit on the size of files: the annotations, and the notes of trainings, have room still.
    limit = 2 * max(path.stat().st_size for path in desk.models.glob("encoder/*/*"))
    full = subprocess.run(
        [sys.executable, "-m", "tagalong", *desk.command("--project", desk.project)],
        cwd=ROOT,
        preexec_fn=partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert full.returncode == 1
    mentions(full.stderr, "training-state-unwritable")
    runs = JobStore(desk.models)
    [run] = runs.list_latest(limit=9)
    assert run.state is JobState.FAILED
    assert run.result is not None
    assert "make room there" in run.result.reason
    runs.close()
    assert ModelStore(desk.models).version_names("encoder") == [desk.first]
    assert not list((desk.models / ".server").glob("training-*/"))  # which frees what it took
    desk.run("--project", desk.project)
    assert ModelStore(desk.models).promoted_version("encoder") != desk.first


def training(desk: Desk) -> tuple["subprocess.Popen[bytes]", JobStore]:
    """A command that has begun to train, in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tagalong", *desk.command("--project", desk.project)], cwd=ROOT
    )
    runs = JobStore(desk.models)
    deadline = time.monotonic() + 120
    while not any(run.status_message.startswith("training") for run in runs.list_latest(limit=1)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process, runs


def test_only_one_trains_and_it_can_be_cancelled(desk: Desk) -> None:
    slow, runs = training(desk)
    with raises(TrainingError, "training-in-progress"):
        desk.run("--project", desk.project)
    assert "1 training" in desk.run("--project", desk.project, "--cancel").stderr
    assert slow.wait(60) == 1
    [run] = runs.list_latest(limit=9)
    runs.close()
    assert run.state is JobState.CANCELLED
    assert ModelStore(desk.models).version_names("encoder") == [desk.first]
    assert "0 trainings" in desk.run("--project", desk.project, "--cancel").stderr


def test_what_was_interrupted_goes_on_with_the_same_command(desk: Desk) -> None:
    stopped, runs = training(desk)
    stopped.send_signal(signal.SIGTERM)  # SIGINT is ignored where tests run in the background
    assert stopped.wait(60) == 130
    desk.run("--project", desk.project)
    [run] = runs.list_latest(limit=9)
    runs.close()
    assert run.state is JobState.PROMOTED
