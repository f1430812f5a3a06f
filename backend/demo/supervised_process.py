"""A child process that ends with us: start, log, readiness and end."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import httpx

from tagalong.backend.demo import supervise
from tagalong.ner.atomic_io import PRIVATE_FILE_MODE, PRIVATE_FOLDER_MODE
from tagalong.ner.errors import LabelStudioError

LOOPBACK_ADDRESS = "127.0.0.1"
MAX_LOG_LINES = 12  # last lines of the log in an error
POLL_SECONDS = 0.25
GROUP_EXIT_TIMEOUT_SECONDS = 2.0  # until killed processes are gone


class SupervisedProcess(AbstractContextManager["SupervisedProcess"]):
    """A command that ends on `stop`, and also when this process is killed.

    Its whole environment is given, nothing is inherited. Only its owner can read its new files.
    """

    def __init__(
        self, name: str, command: Sequence[str], *, environment: Mapping[str, str], log_path: Path
    ) -> None:
        self.name = name
        self.log_path = log_path
        log_path.parent.mkdir(PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
        log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE_MODE)
        try:
            self._process = subprocess.Popen(  # noqa: S603 (the caller's own command)
                [sys.executable, "-I", supervise.__file__, *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=log_path.parent,
                start_new_session=True,
                umask=0o077,
            )
        finally:
            os.close(log)

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Id of the process, and of the group with its child processes."""
        return self._process.pid

    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def ended_error(self, when: str) -> LabelStudioError:
        """The error for a process that ended by itself, with the last lines of its log."""
        lines = self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        last_lines = "\n".join([line for line in lines if line.strip()][-MAX_LOG_LINES:])
        message = f"{self.name} {when}; its log {self.log_path} ends with:\n{last_lines}"
        return LabelStudioError(message, "start", code="process-ended")

    def wait_until_ready(self, is_ready: Callable[[], bool], *, timeout_seconds: float) -> None:
        """Poll until the server is ready; raises `LabelStudioError` if it ends or is slow."""
        deadline = time.monotonic() + timeout_seconds
        while not is_ready():
            if not self.is_running():
                raise self.ended_error("ended before it answered")
            if time.monotonic() > deadline:
                raise LabelStudioError(
                    f"{self.name} did not answer within {timeout_seconds:g} s: see its log "
                    f"{self.log_path}, and try again when the machine is less busy",
                    "start",
                    code="process-not-ready",
                )
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """End the process and its child processes; a second call does nothing."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(supervise.TERMINATION_GRACE_SECONDS + 5)
        except subprocess.TimeoutExpired:  # not reaped yet, so the id is not reused
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        # The system needs a moment to remove the killed processes of the group.
        deadline = time.monotonic() + GROUP_EXIT_TIMEOUT_SECONDS
        with suppress(ProcessLookupError, PermissionError):
            while time.monotonic() < deadline:
                os.killpg(self._process.pid, 0)
                time.sleep(POLL_SECONDS / 10)


def is_port_free(port: int) -> bool:
    """Whether nothing listens on a port of loopback, or on that port of all addresses."""
    with socket.socket() as client:
        if client.connect_ex((LOOPBACK_ADDRESS, port)) == 0:
            return False
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((LOOPBACK_ADDRESS, port))
        except OSError:
            return False
    return True


def find_free_port() -> int:
    """A port of loopback that is free now; another program may still take it."""
    with socket.socket() as server:
        server.bind((LOOPBACK_ADDRESS, 0))
        return int(server.getsockname()[1])


def port_taken_error(port: int) -> LabelStudioError:
    """The error for a port that another program uses."""
    message = f"port {port} is taken by another program: end that, or give another port"
    return LabelStudioError(message, "start", code="port-taken")


def is_http_ok(port: int, path: str) -> bool:
    """Whether a web server on loopback answers a GET with 200."""
    try:  # no proxy of the environment is meant for loopback
        url = f"http://{LOOPBACK_ADDRESS}:{port}{path}"
        return httpx.get(url, timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
