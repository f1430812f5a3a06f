"""Processes of the server benchmarks: our server, a plain server, and the tagger alone."""

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from urllib3 import HTTPConnectionPool

BENCH_FOLDER = Path(__file__).parent
ROOT = BENCH_FOLDER.parents[1]
READY_TIMEOUT_SECONDS = 180.0  # on a machine with other work
RIVAL_THREADS = 8  # gunicorn's threads in label-studio-ml's examples


@dataclass(frozen=True, slots=True)
class Server:
    """A started server.

    Attributes:
        name: Name in tables.
        port: Port on loopback.
        pid: Its process id; of gunicorn's master for the rival.
        pool: One kept connection, as in Label Studio's session.

    """

    name: str
    port: int
    pid: int
    pool: HTTPConnectionPool

    def post(self, path: str, body: bytes) -> tuple[float, bytes]:
        """Seconds until the answer, and the answer; keeps the connection."""
        start = time.perf_counter()
        headers = {"Content-Type": "application/json"}
        content = self.pool.request("POST", path, body=body, headers=headers).data
        return time.perf_counter() - start, content


def environment(threads: int, **extra: str) -> dict[str, str]:
    """Build the environment of a measured process: compute threads, no hub, our code."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONPATH": str(ROOT),
        **extra,
    }


@contextmanager
def start_server(
    models: Path, *, threads: int, loaded: bool = True, root: Path = ROOT
) -> Iterator[Server]:
    """Run `tagalong serve`, with the bundled version if `models` is empty.

    With `loaded=False` it is yielded as soon as it answers, before it has a version. `root` is the
    checkout to run, with its own Python unless it is this one.
    """
    port = free_port()
    command = ["-m", "tagalong", "serve", "--port", str(port), "--models", str(models)]
    python = sys.executable if root == ROOT else str(root / ".venv" / "bin" / "python")
    variables = environment(threads, PYTHONPATH=str(root))
    with _run_server(
        "tagalong", command, port, variables, loaded=loaded, python=python, folder=root
    ) as server:
        yield server


@contextmanager
def run_training(*, threads: int) -> Iterator[None]:
    """Train an encoder continuously, on the sample abstracts of the tests."""
    with tempfile.TemporaryDirectory() as models:
        export = str(ROOT / "tests" / "samples" / "bc5cdr.jsonl")
        command = [*("-m", "tagalong", "train", "encoder", export, "--models", models)]
        process = subprocess.Popen(
            [sys.executable, *command, "--epochs", "1000", "--patience", "1000"],
            env=environment(threads),
            cwd=ROOT,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
            if process.poll() is not None:
                raise SystemExit("the training ended before the measurement did")
        finally:
            _stop(process)


@contextmanager
def rival_server(model: Path, *, threads: int) -> Iterator[Server]:
    """Run the plain server under gunicorn, as Label Studio's example containers do."""
    port = free_port()
    command = [
        *("-m", "gunicorn", "--chdir", str(BENCH_FOLDER), "--bind", f"127.0.0.1:{port}"),
        *("--workers", "1", "--threads", str(RIVAL_THREADS), "--timeout", "0"),
        *("--log-level", "warning", "server_rival:app"),
    ]
    extra = {"RIVAL_MODEL": str(model)}
    with _run_server("Flask + pipeline", command, port, environment(threads, **extra)) as server:
        yield server


@contextmanager
def direct_tagger(*, threads: int) -> Iterator["DirectTagger"]:
    """Run the bundled version in its own process."""
    process = subprocess.Popen(
        [sys.executable, str(BENCH_FOLDER / "server_direct.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(threads),
        text=True,
    )
    try:
        yield DirectTagger(process)
    finally:
        _stop(process)


class DirectTagger:
    """A tagger without a server around it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def predict(self, text: str) -> tuple[float, float, list[tuple[int, int, str]]]:
        """Seconds of `Tagger.predict` and of its passes, measured inside, and the spans."""
        answer = self._request(text)
        spans = [(start, end, label) for start, end, label in answer["spans"]]
        return answer["seconds"], answer["bare"], spans

    def predict_all(self, texts: Sequence[str]) -> float:
        """Seconds of `Tagger.predict` for all texts at once."""
        seconds: float = self._request(list(texts))["seconds"]
        return seconds

    def _request(self, texts: str | list[str]) -> dict[str, Any]:
        """Write a line, read a line."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(texts) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def generate_load(server: Server, data: Path, *options: str) -> dict[str, Any]:
    """Run the load generator against a server, in its own process."""
    command = [sys.executable, str(BENCH_FOLDER / "server_load.py"), "--port", str(server.port)]
    process = subprocess.run(
        [*command, "--data", str(data), *options],
        stdout=subprocess.PIPE,
        env=environment(1),
        check=True,
    )
    measurements: dict[str, Any] = json.loads(process.stdout)
    return measurements


def free_port() -> int:
    """Find a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _run_server(
    name: str,
    command: Sequence[str],
    port: int,
    variables: Mapping[str, str],
    *,
    loaded: bool = True,
    python: str = sys.executable,
    folder: Path = ROOT,
) -> Iterator[Server]:
    """Start a server, wait until it has its model or answers; stop it afterwards."""
    process = subprocess.Popen(
        [python, *command], env=variables, cwd=folder, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        while not _is_ready(port, loaded=loaded):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{name} did not start: {' '.join(command)}")
            time.sleep(0.2)
        with HTTPConnectionPool("127.0.0.1", port, timeout=READY_TIMEOUT_SECONDS) as pool:
            yield Server(name, port, process.pid, pool)
    finally:
        _stop(process)


def _is_ready(port: int, *, loaded: bool) -> bool:
    """Check that a server answers and, if `loaded`, reports a version."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        health = json.loads(connection.getresponse().read())
        return bool(health.get("version")) or not loaded
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _stop(process: "subprocess.Popen[Any]") -> None:
    """Stop a process that was started here."""
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
