"""Concurrent trainings in one store."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tagalong.backend.documents.jsonl import document_to_json
from tagalong.backend.storage.model_store import ModelStore
from tagalong.cli.main import main
from tagalong.ner.manifest import read_manifest
from tests.errors import assert_wording
from tests.forked_process import ForkedProcess
from tests.toy_corpus import toy_documents

PROGRAM = Path(__file__).with_name("train_concurrently.py")
SETTINGS = (
    "--epochs", "4", "--learning-rate", "0.003", "--batch-tokens", "256", "--window", "96",
    "--json",
)  # fmt: skip
Command = list[str]


@pytest.fixture
def command(tiny_base: Callable[[str], Path], store: ModelStore, tmp_path: Path) -> Command:
    """Command line of a training in the store."""
    export = tmp_path / "export.jsonl"
    lines = (json.dumps(document_to_json(document)) for document in toy_documents(24))
    export.write_text("\n".join(lines), encoding="utf-8")
    base = tiny_base("bert-uncased")
    begin = ("train", "encoder", export, "--base", base, "--models", store.root)
    return [*map(str, begin), *SETTINGS]


@contextmanager
def start_synchronized_training(meeting: Path, command: Command) -> Iterator[ForkedProcess]:
    """Start a training that waits for the others before it publishes."""
    with ForkedProcess(PROGRAM, meeting, 2, *command) as training:
        try:
            yield training
        finally:
            training.kill()


def published_by(training: ForkedProcess) -> str:
    output, stderr = training.communicate(timeout=240)
    assert training.returncode == 0, stderr
    return json.loads(output)["version"]


def states(store: ModelStore) -> list[Path]:
    """Complete states; unfinished ones have a suffix."""
    return [path for path in store.model_folder("encoder").glob(".training-*") if not path.suffix]


def wait_for_state(store: ModelStore, training: ForkedProcess) -> None:
    while not states(store):
        assert training.poll() is None, training.communicate()
        time.sleep(0.01)


@pytest.mark.slow
def test_different_trainings_publish_concurrently_and_identical_one_is_refused(
    command: Command, store: ModelStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    with start_synchronized_training(meeting, command) as one:
        wait_for_state(store, one)
        with pytest.raises(SystemExit) as ended:
            main([*command, "--name", "twin"])
        assert ended.value.code == 1
        stderr = capsys.readouterr().err.splitlines()
        [sentence] = [line for line in stderr if line.startswith("Error: ")]
        assert_wording(sentence.removeprefix("Error: "), "training-in-progress")
        assert len(states(store)) == 1  # its state is kept for resuming
        with start_synchronized_training(meeting, [*command, "--seed", "7"]) as other:
            published = [published_by(one), published_by(other)]
    assert len(list(meeting.iterdir())) == 4
    assert store.version_names("encoder") == sorted(published)
    assert len(set(published)) == 2
    for version in published:
        assert read_manifest(store.resolve(version)).version == version
    assert store.promoted_version("encoder") in published
    left = {path.name for path in store.model_folder("encoder").iterdir()}
    assert left == {*published, "current", ".current-backup", ".lock"}
