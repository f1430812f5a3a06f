"""The command ``tagalong retrain`` on projects of a real Label Studio."""

import json
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
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
from tests.chaos.retraining_runs import (
    add_annotated_tasks,
    create_annotated_project,
    publish_weak_version,
)
from tests.end_to_end.backend_project import create_backend_project
from tests.end_to_end.server_process import start_server
from tests.errors import mentions, raises
from tests.forked_process import ForkedProcess, run_forked
from tests.toy_corpus import toy_documents

LIMITED = """
import resource, sys
from tagalong.cli.main import main
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
main(sys.argv[2:])
"""
QUICK = Schedule(epochs=2, patience=2, learning_rate=3e-3, batch_tokens=64, precision="fp32")


@dataclass(frozen=True)
class AnnotatedProject:
    """An annotated project without a backend, and a store with a first version."""

    running: LabelStudioServer
    project: int
    models: Path
    first: str

    @property
    def model(self) -> str:
        """The project's own model, after a training."""
        return f"project-{self.project}"

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
def shared_project(
    label_studio: LabelStudioServer,
    tiny_base: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> AnnotatedProject:
    store = ModelStore(tmp_path_factory.mktemp("desk") / "models")
    first = publish_weak_version(store, tiny_base("bert-uncased"), QUICK)
    project = create_annotated_project(label_studio, toy_documents(50, seed=2))
    return AnnotatedProject(label_studio, project, store.root, first)


@pytest.fixture
def annotated(shared_project: AnnotatedProject, tmp_path: Path) -> AnnotatedProject:
    """The shared project, with a copy of its store."""
    shutil.copytree(shared_project.models, tmp_path / "models")
    return AnnotatedProject(
        shared_project.running, shared_project.project, tmp_path / "models", shared_project.first
    )


def test_command_trains_evaluates_and_promotes_once(annotated: AnnotatedProject) -> None:
    first: dict[str, Any] = json.loads(
        annotated.run("--project", annotated.project, "--json").stdout
    )
    assert first["state"] == "promoted"
    assert first["compared_version"] == annotated.first
    assert first["documents"] + first["held_out"] == 50
    assert (first["model"], first["compared_model"]) == (annotated.model, "encoder")
    store = ModelStore(annotated.models)
    assert store.promoted_version(annotated.model) == first["version"]
    assert store.promoted_version("encoder") == annotated.first
    assert any("No backend of the project serves" in note for note in first["notes"]), first[
        "notes"
    ]
    again = annotated.run(
        "--project", annotated.project, "--recipe-from", annotated.first, "--json"
    )
    nothing_new = json.loads(again.stdout)
    assert (nothing_new["state"], nothing_new["version"]) == ("kept", first["version"])
    assert nothing_new["compared_model"] == annotated.model
    assert store.promoted_version(annotated.model) == first["version"]
    assert not list((annotated.models / ".server").glob("training-*/"))
    warm = json.loads(
        annotated.run("--project", annotated.project, "--warm-start", "--json").stdout
    )
    assert warm["version"] != first["version"]
    manifest = read_manifest(
        ModelStore(annotated.models).version_folder(annotated.model, warm["version"])
    )
    assert manifest.data["start"] == first["version"]


def test_promote_never_keeps_the_current_version(annotated: AnnotatedProject) -> None:
    result = annotated.run("--project", annotated.project, "--promote", "never", "--name", "kept")
    assert "'never'" in result.stderr
    assert "three" not in result.stdout
    assert "0." in result.stdout  # the table
    assert ModelStore(annotated.models).promoted_version("encoder") == annotated.first
    assert any(
        name.startswith("kept-")
        for name in ModelStore(annotated.models).version_names(annotated.model)
    )


def test_untrainable_projects_fail_and_are_recorded(annotated: AnnotatedProject) -> None:
    with annotated.running.connect() as client:
        empty = client.create_project("Empty", read_demo_label_config()).id
    result = annotated.run("--project", empty, code=1)
    mentions(result.stderr, "no-annotated-tasks")
    mentions(annotated.run("--project", 987654, code=1).stderr, "label-studio-missing")
    wrong = annotated.run("--project", annotated.project, "--label-studio-key", "0" * 40, code=1)
    mentions(wrong.stderr, "label-studio-key")
    jobs = JobStore(annotated.models)
    assert [job.state for job in jobs.list_latest(limit=9)] == [JobState.FAILED] * 3
    jobs.close()


def test_project_deleted_during_training_gets_no_promotion(
    annotated: AnnotatedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = create_annotated_project(annotated.running, toy_documents(20, seed=3))
    from tagalong.training.jobs import retrain_project

    decide = retrain_project.decide_promotion

    def delete_project_first(*arguments: Any, **options: Any) -> Any:
        with annotated.running.connect() as client:
            client.connection.request_json("DELETE", f"api/projects/{project}/")
        return decide(*arguments, **options)

    monkeypatch.setattr(retrain_project, "decide_promotion", delete_project_first)
    result = annotated.run("--project", project, "--promote", "always")
    assert f"project-{project}-" in result.stderr
    assert ModelStore(annotated.models).promoted_version("encoder") == annotated.first


def test_resumed_training_does_not_repeat_a_promotion(
    annotated: AnnotatedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ModelStore(annotated.models)

    def roll_back_and_interrupt(*_: object, **__: object) -> int:
        """A user rolls back, and the process is interrupted before the end."""
        assert store.rollback(annotated.model) is None
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(
            "tagalong.training.jobs.retrain.prelabel_next_tasks", roll_back_and_interrupt
        )
        annotated.run("--project", annotated.project, "--prelabel", 5, code=130)
    result = json.loads(
        annotated.run("--project", annotated.project, "--prelabel", 5, "--json").stdout
    )
    assert store.promoted_version("encoder") == annotated.first
    assert store.promoted_version(annotated.model) is None
    assert result["state"] == "kept"
    assert "rolled back" in result["reason"]
    assert not result["notes"]  # no announcement and no pre-labelling


def test_promotion_stands_if_it_cannot_be_recorded(
    annotated: AnnotatedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide = JobStore.write_decision

    def busy(jobs: JobStore, number: int, outcome: JobResult) -> None:
        if outcome.was_promoted:
            raise StateFileError("the file is locked")
        decide(jobs, number, outcome)

    monkeypatch.setattr(JobStore, "write_decision", busy)
    result = json.loads(annotated.run("--project", annotated.project, "--json").stdout)
    assert result["state"] == "promoted"
    assert ModelStore(annotated.models).promoted_version(annotated.model) == result["version"]
    assert result["notes"]  # proves the request to Label Studio for its backends


def test_version_replaces_only_the_version_it_was_compared_with(
    annotated: AnnotatedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ModelStore(annotated.models)
    with store.staging_folder("encoder") as folder:
        shutil.copytree(
            store.version_folder("encoder", annotated.first), folder, dirs_exist_ok=True
        )
        (folder / "manifest.json").unlink()
        draft = replace(
            read_manifest(store.version_folder("encoder", annotated.first)), name="other"
        )
        other = store.publish(folder, draft).version

    def promote_other_and_interrupt(*_: object) -> None:
        """A user promotes another version, and the process is interrupted."""
        store.promote("encoder", other)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(
            "tagalong.training.jobs.retrain.promote_version", promote_other_and_interrupt
        )
        annotated.run("--project", annotated.project, code=130)
    result = json.loads(annotated.run("--project", annotated.project, "--json").stdout)
    assert store.promoted_version("encoder") == other
    assert result["state"] == "kept"
    assert result["compared_version"] == annotated.first
    assert result["reason"].startswith(f"{other} is current now")


def test_training_of_one_project_changes_no_other(
    annotated: AnnotatedProject, tmp_path: Path
) -> None:
    with (
        start_server(tmp_path) as server,
        create_backend_project(annotated.running, server.url, ["Naloxone."], title="Both") as other,
    ):
        client = other.client
        backend = client.ml_backends.add(annotated.project, server.url, annotated.first)
        result = json.loads(annotated.run("--project", annotated.project, "--json").stdout)
        assert result["state"] == "promoted"
        (ours,) = client.ml_backends.list_for_project(annotated.project)
        (theirs,) = client.ml_backends.list_for_project(other.id)
        client.ml_backends.remove(backend.id)
    assert (ours.model_version, theirs.model_version) == (result["version"], annotated.first)


def test_few_documents_do_not_replace_the_bundled_version(annotated: AnnotatedProject) -> None:
    store = ModelStore(annotated.models)
    (annotated.models / "encoder" / "current").unlink()  # the bundled version is served
    project = create_annotated_project(annotated.running, toy_documents(24, seed=6))
    arguments = ("--project", project, "--recipe-from", annotated.first, "--json")
    kept = json.loads(annotated.run(*arguments).stdout)
    assert (kept["state"], kept["compared_version"]) == (
        "kept",
        ModelStore(BUNDLED_MODELS_FOLDER).promoted_version("encoder"),
    )
    assert kept["strata"][0]["new"] >= kept["strata"][0]["current"]  # but six documents are too few
    assert "labels that the current version knows (Chemical " in kept["reason"]
    assert f"it has {kept['held_out']} documents with" in kept["reason"]
    assert f"about {5 * (20 - kept['held_out'])} more documents" in kept["reason"]
    assert store.promoted_version("encoder") is None
    assert (
        json.loads(annotated.run(*arguments, "--promote", "always").stdout)["state"] == "promoted"
    )


def test_annotated_tasks_are_read_from_all_pages(annotated: AnnotatedProject) -> None:
    documents = toy_documents(PAGE_SIZE + 1, seed=4)
    project = create_annotated_project(annotated.running, documents[:PAGE_SIZE])
    with annotated.running.connect() as client:
        client.tasks.add(project, [{"data": {"text": "Nobody has annotated this."}}])
        full = list(fetch_annotated_tasks(client, project, RateLimitedRetry()))
        add_annotated_tasks(client, project, documents[PAGE_SIZE:])
        more = list(fetch_annotated_tasks(client, project, RateLimitedRetry()))
    assert [task["data"]["text"] for task in full] == [one.text for one in documents[:PAGE_SIZE]]
    assert [task["data"]["text"] for task in more] == [one.text for one in documents]


def test_full_disk_is_reported_and_keeps_the_served_version(annotated: AnnotatedProject) -> None:
    # A file size limit above that of the annotations and the job store.
    limit = 2 * max(path.stat().st_size for path in annotated.models.glob("encoder/*/*"))
    full = run_forked("-c", LIMITED, limit, *annotated.command("--project", annotated.project))
    assert full.returncode == 1
    mentions(full.stderr, "training-state-unwritable")
    jobs = JobStore(annotated.models)
    [job] = jobs.list_latest(limit=9)
    assert job.state is JobState.FAILED
    assert job.result is not None
    assert "make room there" in job.result.reason
    jobs.close()
    assert ModelStore(annotated.models).version_names("encoder") == [annotated.first]
    assert not list(
        (annotated.models / ".server").glob("training-*/")
    )  # the disk space is free again
    annotated.run("--project", annotated.project)
    assert ModelStore(annotated.models).promoted_version(annotated.model)


def start_training(annotated: AnnotatedProject) -> tuple[ForkedProcess, JobStore]:
    """Start the command in a child process and wait until it trains."""
    command = annotated.command("--project", annotated.project)
    process = ForkedProcess("-m", "tagalong", *command, log=annotated.models / "command.log")
    jobs = JobStore(annotated.models)
    deadline = time.monotonic() + 120
    while not any(job.status_message.startswith("training") for job in jobs.list_latest(limit=1)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process, jobs


def test_only_one_training_runs_and_can_be_cancelled(annotated: AnnotatedProject) -> None:
    slow, jobs = start_training(annotated)
    with raises(TrainingError, "training-in-progress"):
        annotated.run("--project", annotated.project)
    assert "1 training" in annotated.run("--project", annotated.project, "--cancel").stderr
    assert slow.wait(60) == 1
    [job] = jobs.list_latest(limit=9)
    jobs.close()
    assert job.state is JobState.CANCELLED
    assert ModelStore(annotated.models).version_names("encoder") == [annotated.first]
    assert "0 trainings" in annotated.run("--project", annotated.project, "--cancel").stderr


def test_interrupted_training_resumes(annotated: AnnotatedProject) -> None:
    stopped, jobs = start_training(annotated)
    stopped.send_signal(signal.SIGTERM)  # SIGINT is ignored in background jobs
    assert stopped.wait(60) == 130
    annotated.run("--project", annotated.project)
    [job] = jobs.list_latest(limit=9)
    jobs.close()
    assert job.state is JobState.PROMOTED
