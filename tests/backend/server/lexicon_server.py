"""The real server with a lexicon tagger, in a process that can be killed, and its client."""

import http.client
import json
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tagalong.backend.demo.supervised_process import find_free_port
from tagalong.backend.events.store import EventStore
from tagalong.backend.storage.state_dir import event_store_path
from tests.faulty_disk import DiskCall, answer_calls
from tests.forked_process import ForkedProcess

PROGRAM = Path(__file__).with_name("serve_lexicon.py")
START_SECONDS = 120


class LexiconServer:
    """A running server."""

    def __init__(self, folder: Path, port: int, disk_socket: Path | None = None) -> None:
        self.port, self.log, self.folder = port, folder / "server.log", folder
        self.process = ForkedProcess(
            PROGRAM,
            disk_socket or "-",
            "--port",
            port,
            "--models",
            folder / "models",
            "--no-openvino",
            log=self.log,
            new_session=True,
        )

    def send(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Send a request; returns status and JSON, raises `OSError` without a whole answer."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            try:
                content = None if body is None else json.dumps(body)
                connection.request(method, path, content, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                text = answer.read().decode()
            except http.client.HTTPException as error:
                raise ConnectionError(type(error).__name__) from error
            is_json = answer.headers.get_content_type() == "application/json"
            return answer.status, json.loads(text) if is_json else text

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._holds(condition):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def _holds(self, condition: Callable[[], bool]) -> bool:
        try:
            return condition()
        except OSError:
            return False

    def is_ready(self) -> bool:
        return self.send("GET", "/ready")[0] == 200

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(60)


def stored_annotations(models: Path) -> list[int]:
    """Ids of the annotations in the stored events, in the order of the events."""
    with closing(EventStore(event_store_path(models))) as store, store.connection() as connection:
        rows = connection.execute("SELECT annotations FROM events ORDER BY id").fetchall()
    return [annotation for (text,) in rows for annotation, _ in json.loads(text)]


@contextmanager
def serve_on_disk(folder: Path, decide: Callable[[DiskCall], int]) -> Iterator[LexiconServer]:
    """Run a server whose calls below the folder `decide` lets pass, or refuses with an errno."""
    with (
        tempfile.TemporaryDirectory() as short,  # the path of a socket has 107 characters at most
        socket.socket(socket.AF_UNIX) as waiting,
    ):
        address = Path(short) / "disk"
        waiting.bind(str(address))
        waiting.listen()
        server = LexiconServer(folder, find_free_port(), address)
        connection, _ = waiting.accept()
        with connection:
            _, [listener], _, _ = socket.recv_fds(connection, 1, 1)
    disk = threading.Thread(target=answer_calls, args=(listener, folder, decide))
    disk.start()
    try:
        yield server
    finally:
        server.kill()
        disk.join()
