"""The state of a training belongs to one training at a time."""

import os
import signal
from pathlib import Path
from random import Random
from threading import Timer

import pytest
import torch

from ner.errors import TrainingError
from training.state import alone, forget_state, read_state, write_state


def test_a_second_one_is_kept_out_until_the_first_has_ended(tmp_path: Path) -> None:
    state = tmp_path / "models" / "encoder" / ".training-1"
    with alone(state):
        state.touch()
        with pytest.raises(TrainingError, match="under way in another process"), alone(state):
            raise AssertionError
        with alone(state.with_name(".training-2")):
            pass
        assert state.is_file()
    with alone(state):
        forget_state(state)
        with pytest.raises(TrainingError, match="under way"), alone(state):
            raise AssertionError


def test_what_was_made_for_nothing_is_removed(tmp_path: Path) -> None:
    mine = tmp_path / "models"
    mine.mkdir()
    with alone(mine / "encoder" / ".training-1"):
        assert list((mine / "encoder").iterdir())
    assert list(tmp_path.rglob("*")) == [mine]
    with alone(mine / "encoder" / ".training-1"):
        (mine / "encoder" / "kept").touch()
    assert {path.name for path in mine.rglob("*")} == {"encoder", "kept"}


def test_what_a_killed_one_left_keeps_nobody_out(tmp_path: Path) -> None:
    left = tmp_path / ".lock.training-1"
    left.touch()
    with alone(tmp_path / ".training-1"):
        assert left.is_file()
    assert not left.exists()


def test_an_interruption_comes_through_and_leaves_a_state_that_is_whole(tmp_path: Path) -> None:
    path = tmp_path / ".training-1"
    state = {str(number): torch.zeros(1000) for number in range(200)}
    draw = Random(1)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def save_until_interrupted() -> None:
        seconds = draw.uniform(0, 0.05)
        Timer(seconds, os.kill, (os.getpid(), signal.SIGTERM)).start()
        while True:
            write_state(path, state)

    write_state(path, state)
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        for _ in range(40):
            with pytest.raises(KeyboardInterrupt):
                save_until_interrupted()
            assert len(read_state(path, device=torch.device("cpu"))) == len(state)
            assert list(tmp_path.iterdir()) == [path]
    finally:
        signal.signal(signal.SIGTERM, before)
