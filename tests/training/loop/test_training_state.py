"""Training states: locks and interruptions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tagalong.ner.errors import TrainingError
from tagalong.training.loop.training_state import delete_state, lock_training
from tests.errors import raises


def test_state_is_locked_by_one_training(tmp_path: Path) -> None:
    state = tmp_path / "models" / "encoder" / ".training-1"
    with lock_training(state):
        state.touch()
        with raises(TrainingError, "training-in-progress"), lock_training(state):
            raise AssertionError
        with lock_training(state.with_name(".training-2")):
            pass
        assert state.is_file()
    with lock_training(state):
        delete_state(state)
        with raises(TrainingError, "training-in-progress"), lock_training(state):
            raise AssertionError


def test_folders_that_hold_only_the_lock_are_removed(tmp_path: Path) -> None:
    mine = tmp_path / "models"
    mine.mkdir()
    with lock_training(mine / "encoder" / ".training-1"):
        assert list((mine / "encoder").iterdir())
    assert list(tmp_path.rglob("*")) == [mine]
    with lock_training(mine / "encoder" / ".training-1"):
        (mine / "encoder" / "kept").touch()
    assert {path.name for path in mine.rglob("*")} == {"encoder", "kept"}


def test_lock_of_a_killed_training_is_released(tmp_path: Path) -> None:
    left = tmp_path / ".lock.training-1"
    left.touch()
    with lock_training(tmp_path / ".training-1"):
        assert left.is_file()
    assert not left.exists()


@pytest.mark.slow
def test_interruption_leaves_a_complete_state(tmp_path: Path) -> None:
    program = Path(__file__).with_name("save_until_interrupted.py")
    ended = subprocess.run(
        [sys.executable, str(program), str(tmp_path / ".training-1")],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "40\n"), ended.stderr
