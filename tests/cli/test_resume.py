"""Killed and resumed training commands, and the progress bar."""

import io
import json
import re
import signal
import time

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from tagalong.backend.documents.jsonl import document_to_json
from tagalong.backend.storage.model_store import ModelStore
from tagalong.cli.terminal.progress import training_progress_bar
from tagalong.ner.manifest import read_manifest
from tagalong.training.recipes.schedule import TrainingProgress
from tests.forked_process import ForkedProcess, run_forked
from tests.toy_corpus import toy_documents

EPOCHS = 8
SETTINGS = (
    "--epochs", str(EPOCHS), "--patience", str(EPOCHS), "--learning-rate", "0.003",
    "--batch-tokens", "256", "--window", "96", "--precision", "fp32", "--json",
)  # fmt: skip
EPOCH = re.compile(
    r"Epoch (\d+) of (\d+): loss \d+\.\d{4}, dev F1 [01]\.\d{4}, \d+:\d\d:\d\d left at most"
)


@pytest.fixture(scope="module")
def command(tiny_base, tmp_path_factory):
    """Options of a training without its store."""
    export = tmp_path_factory.mktemp("export") / "export.jsonl"
    lines = (json.dumps(document_to_json(document)) for document in toy_documents(32))
    export.write_text("\n".join(lines), encoding="utf-8")
    begin = ("-m", "tagalong", "train", "encoder", export, "--base", tiny_base("bert-uncased"))
    return [*begin, *SETTINGS, "--models"]


def assert_same(weights, expected):
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def train(command, models, *options):
    """Run a training; returns the published version and the output."""
    done = run_forked(*command, models, *options, check=True)
    return json.loads(done.stdout)["version"], done.stderr


def saved(models):
    """Complete states; unfinished ones have a suffix."""
    return [path for path in models.glob("encoder/.training-*") if not path.suffix]


def kill_after_a_state(command, models):
    """Start a process and kill it after it has saved its state."""
    with ForkedProcess(*command, models) as training:
        while not saved(models) and training.poll() is None:
            time.sleep(0.002)
        training.kill()
    assert training.returncode == -signal.SIGKILL  # it was killed before its end


@pytest.mark.slow
def test_killed_and_resumed_training_publishes_the_same_version(command, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    version, stderr = train(command, whole)
    reported = [(int(epoch), int(epochs)) for epoch, epochs in EPOCH.findall(stderr)]
    assert reported == [(epoch, EPOCHS) for epoch in range(1, EPOCHS + 1)]

    kill_after_a_state(command, cut)
    assert ModelStore(cut).version_names("encoder") == []
    resumed, stderr = train(command, cut, "--resume")
    reported = [int(epoch) for epoch, _ in EPOCH.findall(stderr)]
    assert reported == list(range(reported[0], EPOCHS + 1))
    assert reported[0] > 1  # it did not start again
    assert resumed == version  # the name has the content hash
    one, other = (ModelStore(models).resolve(version) for models in (whole, cut))
    assert read_manifest(other).scores == read_manifest(one).scores
    assert_same(load_file(other / "model.safetensors"), load_file(one / "model.safetensors"))
    assert {path.name for path in (cut / "encoder").iterdir()} == {
        version,
        "current",
        ".current-backup",
        ".lock",
    }


@pytest.mark.parametrize("width", [80, 120])
def test_progress_bar_shows_loss_dev_f1_and_time_left(width):
    screen = io.StringIO()
    with training_progress_bar(Console(file=screen, force_terminal=True, width=width)) as report:
        report(TrainingProgress(1, 12, 30, 400, 1.5, (), 3725.4, 900.0))
        report(TrainingProgress(2, 12, 35, 400, 0.6, (0.4,), 70.0, 900.0))
        report(TrainingProgress(2, 12, 65, 400, 0.51234, (0.4, 0.61), 65.0, 900.0))
    shown = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", screen.getvalue())
    bars = [line for line in re.split(r"[\r\n]+", shown) if "━" in line]
    assert bars[-1].startswith("Epoch 2 of 12 ")
    assert bars[-1].rstrip().endswith("loss 0.5123, dev F1 0.6100, 0:01:05 left")
    assert EPOCH.findall(shown) == [("2", "12")]
    assert "Epoch 2 of 12: loss 0.5123, dev F1 0.6100, 0:01:05 left at most" in shown


def test_progress_bar_shows_no_score_before_the_first():
    screen = io.StringIO()
    with training_progress_bar(Console(file=screen, force_terminal=True, width=100)) as report:
        report(TrainingProgress(1, 12, 30, 400, 1.5, (), 3725.4, 900.0))
    assert "1:02:05" in screen.getvalue()
    assert "F1" not in screen.getvalue()
