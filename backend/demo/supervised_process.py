"""A server that we start: its log, whether it still runs, whether it answers, and its end."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Self

from tagalong.backend.demo import supervise
from tagalong.ner.errors import LabelStudioError

LOOPBACK_ADDRESS = "127.0.0.1"
MAX_LOG_LINES = 12  # last lines of a log that fit into an error
POLL_SECONDS = 0.25  # seconds between looks at a server that starts
GROUP_EXIT_TIMEOUT_SECONDS = 2.0  # seconds that what was killed may take to die


class SupervisedProcess(AbstractContextManager["SupervisedProcess"]):
    """A command that ends when we do: on :meth:`stop`, and also when we are killed.

    Args:
        name: What people call it.
        command: What to run, with its arguments.
        environment: All of it; nothing is inherited.
        log_path: Where its output goes, readable by its owner alone.
    """

    def __init__(
        self, name: str, command: Sequence[str], *, environment: Mapping[str, str], log_path: Path
    ) -> None:
        self.name = name
        self.log_path = log_path
        log_path.parent.mkdir(parents=True, exist_ok=True)
        written = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            self._process = subprocess.Popen(  # noqa: S603 (the caller's own command)
                [sys.executable, "-I", supervise.__file__, *command],
                stdin=subprocess.PIPE,
                stdout=written,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=log_path.parent,
                start_new_session=True,
            )
        finally:
            os.close(written)

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __enter__(self) -> Self:
        return self

    @property
    def pid(self) -> int:
        """Of the group that it and all that it starts are in."""
        return self._process.pid

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def read_last_lines(self, count: int = MAX_LOG_LINES) -> str:
        """The end of its log.

        Args:
            count: How many lines.

        Returns:
            The lines, empty ones left out.
        """
        lines = self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join([line for line in lines if line.strip()][-count:])

    def wait_until_ready(self, is_ready: Callable[[], bool], *, timeout_seconds: float) -> None:
        """Wait for it to come up.

        Args:
            is_ready: Whether it is.
            timeout_seconds: How long to wait.

        Raises:
            LabelStudioError: If it ended before, or took longer.
        """
        deadline = time.monotonic() + timeout_seconds
        while not is_ready():
            if not self.is_running():
                raise LabelStudioError(
                    f"{self.name} ended before it answered; its log {self.log_path} ends with:\n"
                    f"{self.read_last_lines()}",
                    "start",
                )
            if time.monotonic() > deadline:
                raise LabelStudioError(
                    f"{self.name} did not answer within {timeout_seconds:g} s: see its log {self.log_path}, "
                    "and try again when the machine is less busy",
                    "start",
                )
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """End it and all that it started; twice is once."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(supervise.TERMINATION_GRACE_SECONDS + 5)
        except subprocess.TimeoutExpired:  # not waited for yet, so its id is still its own
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._wait_for_group()

    def _wait_for_group(self) -> None:
        """Wait for the others of its group: they are killed together, and die one by one."""
        deadline = time.monotonic() + GROUP_EXIT_TIMEOUT_SECONDS
        with suppress(ProcessLookupError, PermissionError):
            while time.monotonic() < deadline:
                os.killpg(self._process.pid, 0)
                time.sleep(POLL_SECONDS / 10)


def is_port_free(port: int) -> bool:
    """Whether nothing on this machine listens at a port.

    Args:
        port: On loopback.

    Returns:
        False also where a program listens at all addresses of the machine.
    """
    with socket.socket() as asking:
        if asking.connect_ex((LOOPBACK_ADDRESS, port)) == 0:
            return False
    with socket.socket() as taking:
        taking.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taking.bind((LOOPBACK_ADDRESS, port))
        except OSError:
            return False
    return True


def find_free_port() -> int:
    """A port on loopback where nothing listens; nobody keeps it free."""
    with socket.socket() as taking:
        taking.bind((LOOPBACK_ADDRESS, 0))
        port: int = taking.getsockname()[1]
        return port


def is_http_ok(port: int, path: str) -> bool:
    """Whether a web server on loopback answers with 200.

    Args:
        port: Where it listens.
        path: What to ask for.

    Returns:
        False also while nothing listens.
    """
    connection = http.client.HTTPConnection(LOOPBACK_ADDRESS, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
