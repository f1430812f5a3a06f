"""Our server as ``tagalong serve`` starts it, in a process of its own."""

import json
import os
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tagalong.backend.demo.supervised_process import SupervisedProcess, find_free_port
from tagalong.backend.events.payload import WebhookEvent
from tagalong.backend.events.store import EventStore
from tagalong.backend.server.settings import Settings

START = 300.0  # seconds: it imports torch and loads a version, on machines however busy


@dataclass(frozen=True)
class Ours:
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
def our_server(folder: Path, **environment: str) -> Iterator[Ours]:
    """Start it with the models of a folder, where there may be none, and wait until one serves."""
    ours = Ours(f"http://127.0.0.1:{find_free_port()}", folder / "models", folder / "ours.log")
    port = ours.url.rpartition(":")[2]
    command = [
        sys.executable,
        "-m",
        "tagalong",
        "serve",
        "--port",
        port,
        "--models",
        str(ours.models),
    ]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TAGALONG_")}
    kept["TAGALONG_OPENVINO"] = "false"  # whatever engine this machine may have
    with SupervisedProcess(
        "our server", command, environment=kept | environment, log_path=ours.log
    ) as process:
        process.wait_until_ready(lambda: _serves(ours), timeout_seconds=START)
        yield replace(ours, group=process.pid)


def _serves(ours: Ours) -> bool:
    """Whether it answers, and has a version loaded."""
    try:
        return ours.version is not None
    except OSError:
        return False
