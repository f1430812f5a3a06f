"""Scripts that replace the programs of the demo."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.backend.demo import toy_backend, toy_label_studio

Script = Callable[[str], Path]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Writes a shell script, and returns its path."""

    def make(lines: str) -> Path:
        path = tmp_path / f"program-{len(list(tmp_path.glob('program-*')))}"
        path.write_text(f"#!/bin/sh\n{lines}\n")
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def toy_program(script: Script) -> Path:
    """A replacement for ``label-studio``."""
    return script(f'exec {shlex.quote(sys.executable)} {toy_label_studio.__file__} "$@"')


@pytest.fixture
def toy_serve() -> list[str]:
    """A replacement for ``tagalong serve``."""
    return [sys.executable, toy_backend.__file__]
