"""Files that may hold texts are for their owner alone; versions follow the umask."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tagalong.backend.processes import start_logged
from tagalong.backend.retraining.job_store import JobStore
from tagalong.training.jobs.project_data import write_tasks
from tests.backend.server.app_client import post_json, serve_app, settings_in
from tests.cli.run_command import run
from tests.cli.train.test_encoder import SETTINGS, write_corpus
from tests.toy_corpus import toy_documents

SAMPLES = Path("tests/samples").resolve()
CORPUS, EXPORT = SAMPLES / "bc5cdr.jsonl", SAMPLES / "label_studio.json"


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes_in(folder: Path) -> dict[str, int]:
    """The permissions of all files and folders in a folder, by relative path."""
    return {
        path.relative_to(folder).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in folder.rglob("*")
    }


def find_wide(folder: Path, *, file_mode: int = 0o600, folder_mode: int = 0o700) -> set[str]:
    """The files and folders with other permissions."""
    return {
        name
        for name, mode in modes_in(folder).items()
        if mode != (folder_mode if (folder / name).is_dir() else file_mode)
    }


@pytest.mark.parametrize(
    "command",
    [
        ("prelabel", CORPUS, "--out", "{}/predictions.jsonl"),
        ("data", "convert", CORPUS, "--to", "conll", "--out", "{}/corpus.conll"),
        ("data", "split", CORPUS, "--shares", "0.5,0.5", "--out", "{}"),
        ("evaluate", "bundled", CORPUS, "--report", "{}"),
        ("curate", "select", CORPUS, "--count", "2", "--out", "{}/next.json"),
        ("curate", "agreement", EXPORT, "--report", "{}"),
    ],
    ids=lambda command: "-".join(map(str, command[:2])).partition("-/")[0],
)
def test_outputs_are_private(command: tuple[object, ...], tmp_path: Path) -> None:
    run(*(str(one).format(tmp_path / "out") for one in command))
    assert any((tmp_path / "out").iterdir())
    assert find_wide(tmp_path) == set()


def test_replaced_output_keeps_its_permissions(tmp_path: Path) -> None:
    folder, out = tmp_path / "shared", tmp_path / "shared" / "corpus.conll"
    folder.mkdir()
    out.write_text("")
    out.chmod(0o640)
    run("data", "convert", CORPUS, "--to", "conll", "--out", out, "--force")
    assert modes_in(tmp_path) == {"shared": 0o755, "shared/corpus.conll": 0o640}


def test_state_of_a_server_is_private(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    state = settings.models / ".server"
    with serve_app(settings) as client:
        event = {"action": "ANNOTATION_CREATED", "project": {"id": 1}, "task": {"id": 1}}
        assert post_json(client, "/webhook", event).status_code == 201
        # Of no job in the queue: the server would run it, and delete its folder meanwhile.
        work_dir = JobStore(settings.models).work_dir(1)
        write_tasks(work_dir / "tasks.json", [{"data": {"text": "a patient"}}])
        start_logged(["true"], state / "training.log", environment={}).wait()
        names = {path.name for path in state.iterdir()}
        assert {"journal.sqlite-wal", "journal.sqlite-shm", "runs.sqlite", "training.log"} <= names
        assert find_wide(tmp_path) == {"models"}  # the versions in it may be shared


def test_versions_follow_the_umask_but_not_the_state_of_their_training(
    tmp_path: Path, tiny_base, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = write_corpus(tmp_path / "export.jsonl", toy_documents(40))
    monkeypatch.setattr("tagalong.training.jobs.train_version.delete_state", lambda _: None)
    base, models = tiny_base("bert-uncased"), tmp_path / "models"
    run("train", "encoder", export, "--base", base, "--models", models, "--name", "toy", *SETTINGS)
    [state] = find_wide(models, file_mode=0o644, folder_mode=0o755)
    assert state.startswith("encoder/.training-")
    assert modes_in(models)[state] == 0o600
