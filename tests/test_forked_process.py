"""Forked processes have torch imported, and behave as those of `subprocess`."""

import os
import signal
import subprocess

import pytest

from tests.forked_process import IMPORTED, ForkedProcess, run_forked


def test_torch_is_imported_before_the_program_starts() -> None:
    done = run_forked("-c", "import sys; print(*sys.modules)", check=True)
    assert {"torch", "transformers", *IMPORTED} <= set(done.stdout.split())


def test_arguments_environment_output_and_status(tmp_path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import os, sys\nprint(sys.argv[1:], os.environ['X'])\nsys.exit('wrong')\n")
    done = run_forked(program, 7, "a b", env=os.environ | {"X": "1"})
    assert (done.stdout, done.stderr, done.returncode) == ("['7', 'a b'] 1\n", "wrong\n", 1)


def test_process_can_be_read_waited_for_and_killed() -> None:
    with ForkedProcess("-c", "import time; print(1, flush=True); time.sleep(600)") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
