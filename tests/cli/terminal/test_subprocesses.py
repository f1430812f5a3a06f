"""The command line of Tagalong's own child processes."""

import subprocess
from pathlib import Path

import pytest

from tagalong.cli.terminal.subprocesses import TAGALONG_COMMAND


@pytest.mark.parametrize("name", ["cli", "backend", "training", "ner"])
def test_modules_in_the_current_folder_are_not_run(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("raise SystemExit('somebody else')")
    done = subprocess.run(
        [*TAGALONG_COMMAND, "models", "list", "--models", str(tmp_path / "models")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "minilm-bc5cdr" in done.stdout
