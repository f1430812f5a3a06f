"""`tagalong demo` with replacements for its servers: output, exit codes, processes."""

import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

import tagalong.cli.demo
from tagalong.backend.demo.supervised_process import find_free_port
from tagalong.cli.main import main
from tests.backend.demo.conftest import Script, script, toy_program, toy_serve  # noqa: F401
from tests.backend.demo.test_supervised_process import is_running, wait_until
from tests.errors import failed

ROOT = Path(__file__).parents[2]


@pytest.fixture
def arguments(toy_program: Path, tmp_path: Path) -> list[str]:  # noqa: F811
    ports = ["--port", str(find_free_port()), "--backend-port", str(find_free_port())]
    where = ["--home", str(tmp_path / "home"), "--label-studio", str(toy_program)]
    return ["demo", *where, *ports, "--no-browser"]


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, toy_serve: Sequence[str]) -> None:  # noqa: F811
    monkeypatch.setattr(tagalong.cli.demo, "SERVE_COMMAND", toy_serve)


def run(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    output = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    assert "Traceback" not in output.err
    return ended.value.code, " ".join(output.out.split()), output.err


@pytest.mark.usefixtures("toy")
def test_check_compares_predictions_stops_and_resumes(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        code, shown, steps = run([*arguments, "--check"], capsys)
        assert code == 0
        assert shown.startswith("12 predictions of toy-20260131-0a1b2c3d for 12 tasks")
        assert shown.endswith("all are correct.")
        assert steps.splitlines() == [
            "Starting Label Studio ...",
            "Starting the backend ...",
            "Preparing the project ...",
        ]


@pytest.mark.usefixtures("toy")
def test_check_fails_on_a_wrong_prediction(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_FAULT", "shifted")
    code, shown, _ = run([*arguments, "--check"], capsys)
    assert code == 1
    assert shown.count("region 1:") == 10
    assert shown.endswith("and 2 more")


def test_serve_accepts_the_options_of_the_demo(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The end-to-end tests use the real server; this tests its options."""
    assert tagalong.cli.demo.SERVE_COMMAND[1:] == ("-P", "-m", "tagalong", "serve")
    where = ["--host", "127.0.0.1", "--port", "9090", "--models", str(tmp_path)]
    assert run(["serve", *where, "--help"], capsys)[0] == 0


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("option", ["--port", "--backend-port"])
def test_taken_port_is_one_sentence(
    option: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        code, stdout, wrong = run([*arguments, option, port], capsys)
    assert (code, stdout) == (1, "")
    failed(wrong, "port-taken")
    assert f"port {port} " in wrong


@pytest.mark.usefixtures("toy")
def test_early_exit_of_label_studio_is_reported(
    arguments: list[str],
    script: Script,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = script("echo 'django.db.utils.OperationalError: disk I/O error'; exit 1")
    code, stdout, wrong = run([*arguments, "--label-studio", str(broken)], capsys)
    assert (code, stdout) == (1, "")
    failed(wrong, "process-ended")
    assert "I/O" in wrong


@pytest.mark.usefixtures("toy")
def test_failing_backend_is_reported(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_FAULT", "broken")
    code, _, wrong = run(arguments, capsys)
    assert code == 1
    failed(wrong, "predictions-not-stored")


@pytest.mark.parametrize("wrong", [["--label-studio", "/no/such"], ["--port", "0"], ["there"]])
def test_wrong_usage(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", *wrong], capsys)[0] == 2


# In a background job, signals may be ignored, and children inherit that.
RESTORE_SIGINT = (
    "import signal\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_every_way_of_stopping_leaves_no_processes(
    number: signal.Signals,
    code: int,
    arguments: list[str],
    toy_serve: Sequence[str],  # noqa: F811
    tmp_path: Path,
) -> None:
    program = (
        f"{RESTORE_SIGINT}import tagalong.cli.demo, sys\n"
        "from tagalong.cli.main import main\n"
        f"tagalong.cli.demo.SERVE_COMMAND = {toy_serve!r}\n"
        f"main({arguments!r})\n"
    )
    shown = tmp_path / "shown"
    with shown.open("w") as out:
        demo = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=out, stderr=out)
        assert wait_until(lambda: "Ctrl-C" in shown.read_text())
        children = [int(pid) for pid in children_of(demo.pid)]
        assert len(children) == 2
        demo.send_signal(number)
        assert demo.wait(60) == code
    assert not any(map(is_running, children))
    stdout = shown.read_text()
    assert "Traceback" not in stdout
    for word in ("Open", "/projects/1/data", "Log in as", "demo@localhost", "Password", "Submit"):
        assert word in stdout


def children_of(pid: int) -> list[str]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=True
    )
    return listed.stdout.split()


def test_stopping_during_start_leaves_no_processes(
    script: Script,  # noqa: F811
    tmp_path: Path,
) -> None:
    slow = script('echo $$ > "$0.pids"; exec sleep 600')
    arguments = ["demo", "--home", str(tmp_path / "home"), "--label-studio", str(slow)]
    program = f"{RESTORE_SIGINT}from tagalong.cli.main import main\nmain({arguments!r})\n"
    demo = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stderr=subprocess.DEVNULL)
    pids = Path(f"{slow}.pids")
    assert wait_until(lambda: pids.exists() and pids.read_text().endswith("\n"))
    demo.send_signal(signal.SIGINT)
    assert demo.wait(60) == 130
    assert not is_running(int(pids.read_text()))


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("screen", ["DISPLAY", "WAYLAND_DISPLAY", ""])
def test_browser_is_opened_only_on_a_desktop(
    terminal: bool, screen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(tagalong.cli.demo, "console", Console(force_terminal=terminal))
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if screen:
        monkeypatch.setenv(screen, ":0")
    assert tagalong.cli.demo._can_open_browser() == (terminal and bool(screen))
