"""A killed and resumed LLM training ends with the same adapter as an uninterrupted one."""

import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.forked_process import ForkedProcess, run_forked, run_ranks
from tests.tiny_bases import CORPUS
from tests.tiny_llms import save_llm
from tests.training.train_llm_once import train, weights_of

PROGRAM = Path(__file__).with_name("train_llm_once.py")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the programs, for the same order of sums
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_llm(tmp_path_factory.mktemp("llm") / "base", CORPUS, num_hidden_layers=1)


@pytest.fixture(scope="module")
def run_undisturbed(base, tmp_path_factory):
    torch.set_num_threads(1)
    steps = []
    trained = train(base, tmp_path_factory.mktemp("whole") / "state", report=steps.append)
    assert steps[-1].step == steps[-1].steps >= 12
    return weights_of(trained), steps[-1].steps


def assert_same(weights, expected):
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


@pytest.mark.slow
def test_killed_training_resumes_to_the_same_adapter(base, run_undisturbed, tmp_path):
    expected, steps = run_undisturbed
    command = [PROGRAM, base, tmp_path / "state", tmp_path / "out", "--resume"]
    with ForkedProcess(*command) as running:
        assert any(int(line) >= steps // 2 for line in running.stdout)
        running.send_signal(signal.SIGKILL)
    done = run_forked(*command, check=True)
    assert int(done.stdout.split()[0]) > 4  # it did not start again
    assert_same(load_file(tmp_path / "out.rank0"), expected)


@pytest.mark.slow
def test_two_processes_train_one_adapter(base, run_undisturbed, tmp_path):
    """accelerate joins the processes over gloo."""
    env = os.environ | {"ACCELERATE_USE_CPU": "true"}
    done = run_ranks(PROGRAM, base, tmp_path / "state", tmp_path / "out", env=env)
    first, second = (load_file(tmp_path / f"out.rank{rank}") for rank in range(2))
    assert_same(first, second)
    alone, steps = run_undisturbed
    steps_reported = [int(line) for line in done.stdout.split()]
    assert steps_reported == sorted(steps_reported)  # only one process reports
    assert steps / 2 <= steps_reported[-1] < steps
    assert any(not torch.equal(first[name], alone[name]) for name in alone)
