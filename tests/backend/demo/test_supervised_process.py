"""Child processes end: on request, by force, and when the parent is killed."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tagalong.backend.demo.supervised_process import SupervisedProcess, find_free_port, is_port_free
from tagalong.ner.errors import LabelStudioError
from tests.backend.demo.conftest import Script
from tests.errors import raises

PATH = {"PATH": os.environ["PATH"]}
# A program with a child of its own; it writes both ids to a file.
FAMILY = 'sleep 600 & echo $$ $! > "$0.pids"; wait'
STUBBORN = 'trap "" TERM; sleep 600 & echo $$ $! > "$0.pids"; while true; do wait; done'


def wait_until(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return true()


def is_running(pid: int) -> bool:
    """Whether a process runs and is not a zombie."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        os.kill(pid, 0)
        return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")
    except (ProcessLookupError, FileNotFoundError):  # it may end in between
        return False


def start_with_child(program: Path) -> list[int]:
    """The process ids that a program writes: its own and its child's."""
    pids = Path(f"{program}.pids")
    assert wait_until(lambda: pids.exists() and pids.read_text().endswith("\n"))
    return list(map(int, pids.read_text().split()))


def supervised(program: Path, tmp_path: Path) -> SupervisedProcess:
    return SupervisedProcess("it", [str(program)], environment=PATH, log_path=tmp_path / "log")


def test_stop_ends_all_child_processes(script: Script, tmp_path: Path) -> None:
    program = script(FAMILY)
    with supervised(program, tmp_path) as process:
        pids = start_with_child(program)
        assert process.is_running()
        assert all(map(is_running, pids))
    assert not process.is_running()
    assert not any(map(is_running, pids))
    process.stop()


def test_process_that_ignores_sigterm_is_killed(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = script(STUBBORN)
    impatient = tmp_path / "leash.py"
    from tagalong.backend.demo import supervise

    source = Path(supervise.__file__).read_text(encoding="utf-8")
    changed = source.replace("GRACE_SECONDS = 10.0", "GRACE_SECONDS = 0.1")
    assert changed != source
    impatient.write_text(changed, encoding="utf-8")
    monkeypatch.setattr(supervise, "__file__", str(impatient))
    with supervised(program, tmp_path):
        pids = start_with_child(program)
    assert not any(map(is_running, pids))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_children_end_when_the_parent_is_killed(
    script: Script, tmp_path: Path, number: signal.Signals
) -> None:
    program = script(FAMILY)
    starter = (
        "import signal, time\n"
        "from pathlib import Path\n"
        # In a background job, SIGINT may be ignored, and children inherit that.
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "from tagalong.backend.demo.supervised_process import SupervisedProcess\n"
        f"it = SupervisedProcess('it', [{str(program)!r}], environment={PATH!r}, "
        f"log_path=Path({str(tmp_path / 'log')!r}))\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", starter], cwd=Path(__file__).parents[3]) as us:
        pids = start_with_child(program)
        us.send_signal(number)
    assert wait_until(lambda: not any(map(is_running, pids)))


def test_leftover_children_are_ended_after_exit(script: Script, tmp_path: Path) -> None:
    program = script('sleep 600 & echo $$ $! > "$0.pids"; exit 3')
    process = supervised(program, tmp_path)
    pids = start_with_child(program)
    assert wait_until(lambda: not process.is_running())
    assert wait_until(lambda: not any(map(is_running, pids)))
    assert process.log_path.read_text().rstrip().endswith("ended with exit code 3")
    process.stop()


def test_early_exit_is_reported_with_last_log_lines(script: Script, tmp_path: Path) -> None:
    program = script("echo one\necho two >&2\nexit 3")
    with (
        supervised(program, tmp_path) as process,
        raises(LabelStudioError, "process-ended") as raised,
    ):
        process.wait_until_ready(lambda: False, timeout_seconds=60)
    assert raised.value.kind == "start"
    message = str(raised.value)
    assert "one\ntwo\n" in message
    assert message.endswith("code 3")
    assert str(tmp_path / "log") in message


def test_missing_program_is_reported(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    with supervised(absent, tmp_path) as process:
        with raises(LabelStudioError, "process-ended") as raised:
            process.wait_until_ready(lambda: False, timeout_seconds=60)
        assert os.strerror(errno.ENOENT) in str(raised.value)
        assert "Traceback" not in process.log_path.read_text()


def test_startup_timeout_is_reported(script: Script, tmp_path: Path) -> None:
    with (
        supervised(script("sleep 600"), tmp_path) as process,
        raises(LabelStudioError, "process-not-ready") as raised,
    ):
        process.wait_until_ready(lambda: False, timeout_seconds=0.1)
    assert raised.value.kind == "start"


def test_new_files_are_private(script: Script, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with supervised(script("touch made"), tmp_path) as process:
            assert wait_until(lambda: not process.is_running())
    finally:
        os.umask(before)
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("log", "made")} == {0o600}


def test_no_file_descriptors_are_inherited(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_OURS", "x")
    with supervised(script("env"), tmp_path) as process:
        assert wait_until(lambda: not process.is_running())
    assert "SECRET_OF_OURS" not in process.log_path.read_text()


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_port_is_taken_while_a_socket_listens(address: str) -> None:
    port = find_free_port()
    assert is_port_free(port)
    with socket.socket() as other:
        other.bind((address, port))
        other.listen()
        assert not is_port_free(port)
    assert is_port_free(port)
