"""The training of an encoder without an adapter imports nothing that takes seconds in vain."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = """
import sys
from pathlib import Path
import tagalong.training.jobs.tier_trainers
from tests.training.train_once import train
train(Path(sys.argv[1]), Path(sys.argv[2]))
print({"peft", "bitsandbytes", "tagalong.training.llm.train"} & set(sys.modules))
"""


@pytest.mark.slow
def test_encoder_is_trained_without_importing_peft(
    tiny_base: Callable[[str], Path], tmp_path: Path
) -> None:
    arguments = [sys.executable, "-c", PROGRAM, tiny_base("bert-uncased"), tmp_path / "state"]
    done = subprocess.run(
        arguments, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "set()"
