"""A real server with a fast tagger, and its answers over raw sockets."""

import base64
import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tagalong.backend.demo.supervised_process import find_free_port
from tests.backend.server.app_client import ABSTRACT, request_for
from tests.forked_process import ForkedProcess

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "tests" / "cli" / "serve_slowly.py"  # without its pause
PATIENCE = 120.0  # seconds for a start, or for an answer, on a busy machine
TEXT_MARKER = "PATIENT-Jane-Doe"
PASSWORD, SECRET = "hunter2-password", "hunter2-secret"
FOREIGN_SECRET = "hunter2-foreign"  # in headers that are malformed or unknown
AUTHORIZATION = f"Basic {base64.b64encode(f'tagalong:{PASSWORD}'.encode()).decode()}"
OWN_URL = "http://localhost/"
SERVER_NAME = "studio.example"  # beside the loopback names
SECRETS = (PASSWORD, SECRET, FOREIGN_SECRET, AUTHORIZATION.split()[1])
UNLOGGED = (TEXT_MARKER, *SECRETS)
# Their sentences name parts of the labelling config, where a mutation may have put a text.
CODES_WITH_NAMES = {
    "label-config-not-xml",
    "label-config-control-not-unique",
    "label-config-without-object",
    "label-config-without-span-control",
    "label-config-without-labels",
    "text-without-data-key",
    "unsupported-text-encoding",
}
HEADERS = {
    "Host": "localhost",
    "Authorization": AUTHORIZATION,
    "X-Tagalong-Secret": SECRET,
}
GOOD_BODY = json.dumps(request_for(f"{TEXT_MARKER}: {ABSTRACT}", "lithium")).encode()
GOOD_REQUEST_WORDS = [["Naloxone", "clonidine"], ["lithium"]]
SENTENCE = re.compile(r"[^\n]{10,500}")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the server."""

    status: int
    headers: dict[str, str]  # by lower-case names
    body: bytes

    def find_fault(self, *, has_body: bool = True) -> str | None:
        """What the law of answers forbids; None if nothing."""
        is_error = self.status >= HTTPStatus.BAD_REQUEST
        if self.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not (
            (self.status == HTTPStatus.SERVICE_UNAVAILABLE and "retry-after" in self.headers)
            or self.status in (HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
        ):
            return f"status {self.status}"
        location = self.headers.get("location", OWN_URL)
        if not location.startswith(OWN_URL):
            return f"a redirection to {location[:100]}"
        if not is_error or not has_body:
            return None
        try:
            error = json.loads(self.body)
            message, code = error["error"], error["code"]
        except (ValueError, KeyError, TypeError):
            return f"an error without a sentence and a code: {self.body[:200]!r}"
        is_sentence = SENTENCE.fullmatch(message) and not re.search(r"[.?!] [A-Z]", message)
        if not is_sentence or not re.fullmatch(r"[a-z0-9-]+", code):
            return f"not one sentence and a code: {message!r}, {code!r}"
        hidden = SECRETS if code in CODES_WITH_NAMES else UNLOGGED
        if any(marker in message for marker in hidden):
            return f"an error that quotes the request: {code}"
        return None


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    process: ForkedProcess
    port: int
    log: Path

    def connect(self, timeout: float = PATIENCE) -> socket.socket:
        """Open a connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def find_log_fault(self) -> str | None:
        """What the output must not contain."""
        output = self.log.read_text(encoding="utf-8", errors="replace")
        found = [word for word in (*UNLOGGED, "Traceback") if word in output]
        found += re.findall(r"^\S+ \S+ 500 .*", output, re.MULTILINE)  # of a request
        return f"in the output: {found}" if found else None


class Connection:
    """A kept connection, opened again after the server has closed it."""

    def __init__(self, server: Server) -> None:
        self._server, self._socket = server, server.connect()

    def close(self) -> None:
        self._socket.close()

    def post(self, path: str, body: bytes, headers: dict[str, str] | None = None) -> Answer:
        """Post a body; raises OSError if there is no answer."""
        lines = {**HEADERS, "Content-Length": str(len(body)), **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._socket.sendall(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)
        answer, _ = read_answer(self._socket)
        if answer is None:
            raise ConnectionError("the connection was closed without an answer")
        if answer.headers.get("connection", "").lower() == "close":
            self.close()
            self._socket = self._server.connect()
        return answer

    def find_good_request_fault(self) -> str | None:
        """What is wrong with the answer to a good request."""
        answer = self.post("/predict", GOOD_BODY, {"Content-Type": "application/json"})
        if answer.status != HTTPStatus.OK:
            return f"the next good request: {answer.status} {answer.body[:200]!r}"
        return find_wrong_words(answer)


def find_wrong_words(answer: Answer) -> str | None:
    """What differs from the right answer to the good request."""
    results = json.loads(answer.body)["results"]
    words = [[region["value"]["text"] for region in result["result"]] for result in results]
    return None if words == GOOD_REQUEST_WORDS else f"the next good request: {words}"


def read_answer(
    connection: socket.socket, received: bytes = b"", *, has_body: bool = True
) -> tuple[Answer | None, bytes]:
    """Read an answer and what follows it; None if the server closes before.

    Interim answers, such as 100 Continue, are left out.
    """
    while True:
        while b"\r\n\r\n" not in received:
            if not (piece := connection.recv(65_536)):
                return None, received
            received += piece
        head, _, received = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        status = int(first.split()[1])
        if status != HTTPStatus.CONTINUE:
            break
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    length = int(headers["content-length"]) if has_body else 0
    while len(received) < length:
        if not (piece := connection.recv(65_536)):
            break
        received += piece
    return Answer(status, headers, received[:length]), received[length:]


@contextmanager
def start_server(folder: Path) -> Iterator[Server]:
    """Run `tagalong serve` with its log of requests, until the tagger is loaded."""
    port, log = find_free_port(), folder / "serve_log"
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("TAGALONG_")
    } | {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "TAGALONG_OPENVINO": "false",
        "TAGALONG_USERNAME": "tagalong",
        "TAGALONG_PASSWORD": PASSWORD,
        "TAGALONG_WEBHOOK_SECRET": SECRET,
        "TAGALONG_SERVER_NAMES": SERVER_NAME,
    }
    options = [folder / "begun", 0, "--port", port, "--models", folder / "models", "--access-log"]
    process = ForkedProcess(PROGRAM, *options, env=environment, log=log)
    try:
        server = Server(process, port, log)
        wait_until(lambda: is_loaded(server))
        yield server
        process.send_signal(signal.SIGTERM)
        status = process.wait(PATIENCE)
        assert status == 0, f"the server ended with {status}: {log.read_text()}"
    finally:
        process.kill()
        process.wait()


def is_loaded(server: Server) -> bool:
    """Whether a version is served."""
    assert server.process.poll() is None, server.log.read_text()
    try:
        return ask_health(server)["version"] is not None
    except OSError:
        return False


def ask_health(server: Server) -> dict[str, Any]:
    """The answer of `/health` on a new connection."""
    with server.connect() as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer, _ = read_answer(connection)
    if answer is None:
        raise ConnectionError("/health was not answered")
    health: dict[str, Any] = json.loads(answer.body)
    return health


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_true():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)
