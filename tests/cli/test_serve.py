"""The process `tagalong serve` on a real socket: start, limits and stop."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

import tagalong.backend.server.run
from tagalong.backend.demo.supervised_process import find_free_port
from tagalong.backend.server.prediction.request import Limits
from tagalong.cli.main import main
from tagalong.cli.serve import parse_server_names
from tagalong.ner.errors import InputError
from tests.backend.server.app_client import ABSTRACT, assert_valid, regions, request_for
from tests.errors import failed, raises

ROOT = Path(__file__).parents[2]
SLOWLY = Path(__file__).with_name("serve_slowly.py")
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.startswith("TAGALONG_")
} | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
PATIENCE = 180.0  # seconds for a start on a busy machine, of work with low priority too
SERVE = [sys.executable, "-m", "tagalong", "serve"]
SECONDS = 1.5  # duration of a prediction
TOO_LARGE = b"[" * (Limits().max_body_bytes + 1)
CHUNK = 2**20  # bytes


def wait_until(true: Any) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(true())


@pytest.mark.slow
def test_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ended = subprocess.run(
            [*SERVE, "--port", str(port), "--models", str(tmp_path)],
            check=False,
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
            cwd=tmp_path,
        )
    assert (ended.returncode, ended.stdout) == (1, "")
    failed(ended.stderr, "port-in-use")
    assert ended.stderr.count("\n") == 1


@contextmanager
def slow_server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Start the server; yields the process and its URL after loading."""
    port, log = find_free_port(), tmp_path / "serve_log"
    options = [tmp_path / "begun", SECONDS, "--port", port, "--models", tmp_path / "models"]
    command = [sys.executable, SLOWLY, *options, "--access-log"]
    with log.open("w") as out:
        process = subprocess.Popen(
            list(map(str, command)), env=ENVIRONMENT, cwd=tmp_path, stdout=out, stderr=out
        )

    def has_loaded() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return httpx.get(f"{url}/health").json()["version"] is not None
        except httpx.TransportError:
            return False

    url = f"http://127.0.0.1:{port}"
    try:
        assert wait_until(has_loaded), log.read_text()
        yield process, url
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_large_bodies_are_refused_and_running_requests_finished(tmp_path: Path) -> None:
    def in_chunks() -> Iterator[bytes]:
        for start in range(0, len(TOO_LARGE), CHUNK):
            yield TOO_LARGE[start : start + CHUNK]

    with slow_server(tmp_path) as (process, url), ThreadPoolExecutor(1) as pool:
        for content in (TOO_LARGE, in_chunks()):
            refused = httpx.post(f"{url}/predict", content=content, timeout=30)
            assert refused.status_code == 413
            assert refused.json()["code"] == "body-too-large"
        asked = pool.submit(httpx.post, f"{url}/predict", json=request_for(ABSTRACT), timeout=30)
        assert wait_until((tmp_path / "begun").exists)
        with socket.create_connection(("127.0.0.1", httpx.URL(url).port)) as unfinished:
            unfinished.sendall(
                b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n1"
            )
            process.send_signal(signal.SIGTERM)
            answer = asked.result()
            assert process.wait(PATIENCE) == 0
    assert answer.status_code == 200
    assert [len(found) for found in regions(answer.json())] == [2]
    assert_valid(answer.json())
    assert "Traceback" not in (tmp_path / "serve_log").read_text()


def descendants(pid: int) -> list[tuple[int, str]]:
    """Running descendants of a process: id and command."""
    processes = []
    with suppress(FileNotFoundError, ProcessLookupError):  # it may end in between
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in map(int, children.read_text().split()):
                command = Path(f"/proc/{child}/cmdline").read_bytes()
                processes += [(child, command.replace(b"\0", b" ").decode()), *descendants(child)]
    return processes


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="only Linux tells of children")
def test_stop_ends_child_processes_and_leaves_no_files(tmp_path: Path) -> None:
    """The server is stopped while it compiles the bundled version."""
    scraps, port = tmp_path / "scraps", find_free_port()
    scraps.mkdir()
    places = {"TMPDIR": str(scraps), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "tagalong", "serve", "--port", str(port), "--openvino"]
    with (tmp_path / "serve_log").open("w") as out:
        process = subprocess.Popen(
            [*command, "--models", str(tmp_path / "models")],
            env=ENVIRONMENT | places,
            cwd=ROOT,
            stdout=out,
            stderr=out,
        )

    def making() -> list[int]:
        assert process.poll() is None, (tmp_path / "serve_log").read_text()
        return [pid for pid, command in descendants(process.pid) if "models compile" in command]

    try:
        assert wait_until(
            lambda: making() and any(scraps.glob("tagalong-openvino-builds-*/tagalong-openvino-*"))
        )
        (maker,) = making()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert not Path(f"/proc/{maker}").exists()
        assert [path.name for path in scraps.glob("tagalong-openvino*")] == []
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("secret", "login", "warned"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_secret_without_password_warns_about_the_train_button(
    secret: bool,
    login: bool,
    warned: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    served: list[Any] = []
    monkeypatch.setattr(
        tagalong.backend.server.run, "serve", lambda *arguments, **_: served.extend(arguments)
    )
    for name, given in (("WEBHOOK_SECRET", secret), ("USERNAME", login), ("PASSWORD", login)):
        monkeypatch.setenv(f"TAGALONG_{name}", "s3cret" if given else "")
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--port", str(find_free_port()), "--models", str(tmp_path)])
    assert not ended.value.code
    stderr = " ".join(capsys.readouterr().err.split())
    assert len(served) == 1
    assert ("TAGALONG_WEBHOOK_SECRET" in stderr) == warned
    assert "s3cret" not in stderr


@pytest.mark.parametrize(
    ("host", "names", "expected"),
    [
        ("127.0.0.1", "", frozenset()),
        ("localhost", "", frozenset()),
        ("127.0.0.1", " Studio.example, b ,", frozenset({"studio.example", "b"})),
        ("0.0.0.0", "", None),
        ("0.0.0.0", "studio.example", frozenset({"studio.example"})),
        ("0.0.0.0", "[fe80::1], 192.0.2.1", frozenset({"fe80::1", "192.0.2.1"})),
    ],
)
@pytest.mark.parametrize("login", [True, False])
def test_names_and_warnings_follow_from_the_address(
    host: str,
    names: str,
    expected: frozenset[str] | None,
    login: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    served: list[Any] = []
    monkeypatch.setattr(
        tagalong.backend.server.run, "serve", lambda *settings, **_: served.extend(settings)
    )
    monkeypatch.setenv("TAGALONG_SERVER_NAMES", names)
    for name in ("USERNAME", "PASSWORD"):
        monkeypatch.setenv(f"TAGALONG_{name}", "s3cret" if login else "")
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--host", host, "--port", str(find_free_port()), "--models", str(tmp_path)])
    assert not ended.value.code
    assert served[0].server_names == expected
    stderr = " ".join(capsys.readouterr().err.split())
    assert ("unencrypted" in stderr) == (host == "0.0.0.0" and login)
    assert ("Everybody who can reach" in stderr) == (host == "0.0.0.0" and not login)
    assert "s3cret" not in stderr


@pytest.mark.parametrize("name", ["https://studio.example/x", "studio.example:8080", "*.example"])
def test_addresses_are_no_server_names(name: str) -> None:
    with raises(InputError, "invalid-server-name"):
        parse_server_names(f"localhost,{name}", "127.0.0.1")
