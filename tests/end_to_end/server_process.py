"""The server ``tagalong serve`` in a child process."""

import json
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tagalong.backend.demo.supervised_process import SupervisedProcess, find_free_port
from tagalong.backend.events.payload import WebhookEvent
from tagalong.backend.events.store import EventStore
from tagalong.backend.server.settings import Settings
from tests.forked_process import ForkedProcess

START_TIMEOUT_SECONDS = 300.0  # it imports torch and loads a version
STOP_TIMEOUT_SECONDS = 60.0  # until it has ended


@dataclass(frozen=True)
class ServerProcess:
    """A running server."""

    url: str
    models: Path
    log: Path
    group: int = 0  # process group, without trainers

    def health(self) -> dict[str, Any]:
        """Read ``/health``."""
        with urllib.request.urlopen(f"{self.url}/health", timeout=10) as answer:
            answer_value: dict[str, Any] = json.load(answer)
        return answer_value

    def read(self, path: str, *, accept: str = "*/*") -> str:
        """Read a path as text."""
        request = urllib.request.Request(f"{self.url}{path}", headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer_value: str = answer.read().decode()
        return answer_value

    @property
    def version(self) -> str | None:
        """The served version."""
        return self.health()["version"]

    def events(self, project: int) -> list[WebhookEvent]:
        """Stored events of a project, in order."""
        store = EventStore(Settings(self.models).event_store_path)
        try:
            with store.connection() as connection:
                ids = connection.execute("SELECT id FROM events ORDER BY id").fetchall()
            events = [found.event for (number,) in ids if (found := store.read_event(number))]
            return [event for event in events if event.project and event.project.id == project]
        finally:
            store.close()


@contextmanager
def start_server(folder: Path, *options: str, **environment: str) -> Iterator[ServerProcess]:
    """Start a server with the models folder in `folder`, and wait until it has loaded a version."""
    server = _server_in(folder)
    process = ForkedProcess(
        *_arguments(server),
        *options,
        env=_environment() | environment,
        log=server.log,
        new_session=True,
    )
    try:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not _serves(server):
            assert process.poll() is None, server.log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield replace(server, group=process.pid)
    finally:
        with suppress(ProcessLookupError):  # killed by the test
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def start_server_by_command(folder: Path) -> Iterator[ServerProcess]:
    """Start a server in a new interpreter, as users do. It imports torch first."""
    server = _server_in(folder)
    with SupervisedProcess(
        "our server",
        [sys.executable, *_arguments(server)],
        environment=_environment(),
        log_path=server.log,
    ) as process:
        process.wait_until_ready(lambda: _serves(server), timeout_seconds=START_TIMEOUT_SECONDS)
        yield replace(server, group=process.pid)


def _server_in(folder: Path) -> ServerProcess:
    return ServerProcess(
        f"http://127.0.0.1:{find_free_port()}", folder / "models", folder / "ours.log"
    )


def _arguments(server: ServerProcess) -> list[str]:
    port = server.url.rpartition(":")[2]
    return ["-m", "tagalong", "serve", "--port", port, "--models", str(server.models)]


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TAGALONG_")}
    return kept | {"TAGALONG_OPENVINO": "false"}  # independent of compiled models of this machine


def _serves(server: ServerProcess) -> bool:
    """Whether the server answers and has loaded a version."""
    try:
        return server.version is not None
    except OSError:
        return False
