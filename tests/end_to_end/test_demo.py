"""`tagalong demo` with a real Label Studio and the real server.

The tests share one home, in order: new, resumed, stopped by Ctrl-C.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tagalong.backend.demo.provision import read_abstracts
from tagalong.backend.models.tagger import DocumentTagger
from tests.cli.test_demo import RESTORE_SIGINT

ROOT = Path(__file__).parents[2]
TIMEOUT_SECONDS = 600  # Label Studio creates its database


@pytest.fixture(scope="module")
def home(new_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with an empty database, whose creation takes half a minute."""
    home = tmp_path_factory.mktemp("demo") / "home"
    shutil.copytree(new_database, home / "data")
    return home


def demo(home: Path, program: Path, *more: str) -> Sequence[str]:
    """The command line, with signals enabled also in background jobs."""
    words = ["demo", "--home", str(home), "--label-studio", str(program), "--no-browser", *more]
    return [
        sys.executable,
        "-c",
        f"{RESTORE_SIGINT}from tagalong.cli.main import main\nmain({words!r})\n",
    ]


def processes_of(home: Path) -> list[str]:
    """Processes with the home on their command line or in their environment."""
    listed = subprocess.run(
        ["ps", "axwwe", "-o", "pid=,args="], capture_output=True, text=True, check=True
    )
    own = str(os.getpid())
    lines = [line for line in listed.stdout.splitlines() if str(home) in line]
    return [line for line in lines if line.split()[0] != own]


@pytest.mark.parametrize("state", ["new", "resumed"])
def test_check_passes_on_a_new_and_a_resumed_demo(
    state: str, home: Path, label_studio_program: Path, bundled_tagger: DocumentTagger
) -> None:
    done = subprocess.run(
        demo(home, label_studio_program, "--check"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    count = len(read_abstracts())
    shown = " ".join(done.stdout.split())
    assert shown.startswith(f"{count} predictions of {bundled_tagger.version} for {count} tasks")
    assert processes_of(home) == []


def test_ctrl_c_stops_all_processes(home: Path, label_studio_program: Path, tmp_path: Path) -> None:
    shown = tmp_path / "shown"
    with shown.open("w") as out:
        running = subprocess.Popen(
            demo(home, label_studio_program), cwd=ROOT, stdout=out, stderr=subprocess.STDOUT
        )
        try:
            while "Ctrl-C" not in shown.read_text():
                with pytest.raises(subprocess.TimeoutExpired):
                    running.wait(0.5)  # it must keep running
            assert len(processes_of(home)) >= 3  # the command, Label Studio and the server
        finally:
            running.send_signal(signal.SIGINT)
        assert running.wait(60) == 0
    output = shown.read_text()
    assert "(resumed)" in output
    assert re.search(r"http://127\.0\.0\.1:\d+/projects/\d+/data", output)
    assert "Traceback" not in output
    assert processes_of(home) == []
