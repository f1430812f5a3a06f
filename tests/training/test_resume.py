"""A stopped and resumed training ends with the same weights as an uninterrupted one."""

import os
import random
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import tagalong.training.loop.trainer
from tests.forked_process import ForkedProcess, run_forked, run_ranks
from tests.training.train_once import train, weights_of

PROGRAM = Path(__file__).with_name("train_once.py")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the programs, for the same order of sums
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def base(tiny_base):
    return tiny_base("bert-uncased")


@pytest.fixture(scope="module")
def run_undisturbed(base, tmp_path_factory):
    torch.set_num_threads(1)
    steps = []
    trained = train(base, tmp_path_factory.mktemp("whole") / "state", report=steps.append)
    assert steps[-1].step == steps[-1].steps
    return weights_of(trained), steps[-1].steps


def assert_same(weights, expected):
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


class Stop(Exception):
    """Stops a training."""


@pytest.mark.parametrize("seed", range(4))
def test_training_stopped_at_any_step_resumes_to_the_same_weights(
    base, run_undisturbed, tmp_path, seed
):
    expected, steps = run_undisturbed
    last = random.Random(seed).randrange(1, steps)

    def stop(now):
        if now.step == last:
            raise Stop

    with pytest.raises(Stop):
        train(base, tmp_path / "state", report=stop)
    resumed_from = []
    trained = train(base, tmp_path / "state", resume=True, report=resumed_from.append)
    assert resumed_from[0].step > (last > 4)  # it did not start again once a state was saved
    assert_same(weights_of(trained), expected)


def test_killed_training_resumes_to_the_same_weights(base, run_undisturbed, tmp_path):
    expected, _ = run_undisturbed
    command = [PROGRAM, base, tmp_path / "state", tmp_path / "out", "--resume"]
    for last in (6, 13):
        with ForkedProcess(*command) as running:
            assert any(int(line) >= last for line in running.stdout)
            running.send_signal(signal.SIGKILL)
    run_forked(*command, check=True)
    assert_same(load_file(tmp_path / "out.rank0"), expected)


def train_half(monkeypatch, base, state):
    """Train one process on the batches of the first of two; returns its weights and steps."""
    whole, reported_steps = tagalong.training.loop.trainer.plan_epoch_batches, []

    def half(*arguments, **options):
        return whole(*arguments, **options | {"num_processes": 2})[::2]

    monkeypatch.setattr(tagalong.training.loop.trainer, "plan_epoch_batches", half)
    trained = train(base, state, report=lambda now: reported_steps.append(now.step))
    return weights_of(trained), reported_steps


def test_two_processes_train_one_model(base, run_undisturbed, tmp_path, monkeypatch):
    """accelerate joins the processes over gloo."""
    env = os.environ | {"ACCELERATE_USE_CPU": "true"}
    done = run_ranks(PROGRAM, base, tmp_path / "state", tmp_path / "out", env=env)
    steps = [int(line) for line in done.stdout.split()]
    first, second = (load_file(tmp_path / f"out.rank{rank}") for rank in range(2))
    assert_same(first, second)
    alone, alone_steps = train_half(monkeypatch, base, tmp_path / "alone")
    assert steps == alone_steps  # each process made half of the steps, and only one reports
    assert steps[-1] < run_undisturbed[1]
    assert not any(
        torch.equal(first[name], alone[name]) for name in alone
    )  # both halves contribute
