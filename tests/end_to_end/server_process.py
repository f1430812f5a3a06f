"""Our server as ``tagalong serve`` starts it, in a process of its own."""

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

START_TIMEOUT_SECONDS = (
    300.0  # seconds: it imports torch and loads a version, on machines however busy
)
STOP_TIMEOUT_SECONDS = 60.0  # seconds, until it has ended


@dataclass(frozen=True)
class ServerProcess:
    """Our server while it runs."""

    url: str
    models: Path
    log: Path
    group: int = 0  # of its processes, trainers excepted

    def health(self) -> dict[str, Any]:
        """What it says to anyone."""
        with urllib.request.urlopen(f"{self.url}/health", timeout=10) as answer:
            said: dict[str, Any] = json.load(answer)
        return said

    def read(self, path: str, *, accept: str = "*/*") -> str:
        """What it answers."""
        asked = urllib.request.Request(f"{self.url}{path}", headers={"Accept": accept})
        with urllib.request.urlopen(asked, timeout=10) as answer:
            said: str = answer.read().decode()
        return said

    @property
    def version(self) -> str | None:
        """What it has loaded."""
        return self.health()["version"]

    def events(self, project: int) -> list[WebhookEvent]:
        """What Label Studio told it, in that order."""
        journal = EventStore(Settings(self.models).event_store_path)
        try:
            last = sum(journal.count_by_action().values())  # ids grow by one
            found = [journal.read_event(number) for number in range(1, last + 1)]
            return [one.event for one in found if one and one.event.project == project]
        finally:
            journal.close()


@contextmanager
def start_server(folder: Path, **environment: str) -> Iterator[ServerProcess]:
    """Start it with the models of a folder, where there may be none, and wait until one serves."""
    ours = _ours_in(folder)
    process = ForkedProcess(
        *_arguments(ours), env=_environment() | environment, log=ours.log, new_session=True
    )
    try:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not _serves(ours):
            assert process.poll() is None, ours.log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield replace(ours, group=process.pid)
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
    """The same by the command that users type, which imports torch first."""
    ours = _ours_in(folder)
    with SupervisedProcess(
        "our server",
        [sys.executable, *_arguments(ours)],
        environment=_environment(),
        log_path=ours.log,
    ) as process:
        process.wait_until_ready(lambda: _serves(ours), timeout_seconds=START_TIMEOUT_SECONDS)
        yield replace(ours, group=process.pid)


def _ours_in(folder: Path) -> ServerProcess:
    return ServerProcess(
        f"http://127.0.0.1:{find_free_port()}", folder / "models", folder / "ours.log"
    )


def _arguments(ours: ServerProcess) -> list[str]:
    port = ours.url.rpartition(":")[2]
    return ["-m", "tagalong", "serve", "--port", port, "--models", str(ours.models)]


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TAGALONG_")}
    return kept | {"TAGALONG_OPENVINO": "false"}  # whatever engine this machine may have


def _serves(ours: ServerProcess) -> bool:
    """Whether it answers, and has a version loaded."""
    try:
        return ours.version is not None
    except OSError:
        return False
