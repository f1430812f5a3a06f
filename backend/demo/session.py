"""The whole demo, up for as long as it is wanted: Label Studio, our backend, the project."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tagalong.backend.demo import installation, label_studio_server
from tagalong.backend.demo.label_studio_server import LabelStudioServer
from tagalong.backend.demo.provision import DemoProject, provision
from tagalong.backend.demo.supervised_process import (
    LOOPBACK_ADDRESS,
    SupervisedProcess,
    find_free_port,
    is_http_ok,
    is_port_free,
)
from tagalong.backend.storage.locks import try_lock
from tagalong.ner.errors import LabelStudioError

LABEL_STUDIO_PORT = 8080  # Label Studio's own
BACKEND_PORT = 9090  # that of machine learning backends
BACKEND_START_TIMEOUT_SECONDS = 120.0  # seconds: it imports torch before it answers


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the demo is to be.

    Attributes:
        home: Gets all that it makes.
        serve_command: The command of our backend, which is followed by where to listen and its models.
        label_studio_port: Of Label Studio; None for the usual one, or any if that is taken.
        backend_port: Of our backend; likewise.
        label_studio_program: A ``label-studio`` that is installed already.
    """

    home: Path
    serve_command: Sequence[str]
    label_studio_port: int | None = None
    backend_port: int | None = None
    label_studio_program: Path | None = None


@dataclass(frozen=True, slots=True)
class DemoCallbacks:
    """Whom to tell what is going on.

    Attributes:
        on_step: What begins now.
        on_detail: What it is at.
    """

    on_step: Callable[[str], None] = field(default=lambda _: None)
    on_detail: Callable[[str], None] = field(default=lambda _: None)


@dataclass(frozen=True, slots=True)
class DemoSession:
    """The demo while it is up."""

    label_studio: LabelStudioServer
    backend: SupervisedProcess
    demo_project: DemoProject

    @property
    def url(self) -> str:
        """Of the project's tasks."""
        return f"{self.label_studio.url}/projects/{self.demo_project.project.id}/data"

    def wait(self) -> None:
        """Wait for ever, that is, until interrupted.

        Raises:
            LabelStudioError: If one of its servers ends by itself.
        """
        while True:
            for server in (self.label_studio.process, self.backend):
                if not server.is_running():
                    raise LabelStudioError(
                        f"{server.name} has ended; its log {server.log_path} ends with:\n"
                        f"{server.read_last_lines()}",
                        "start",
                    )
            time.sleep(0.5)


@contextmanager
def open_demo(
    options: DemoOptions, callbacks: DemoCallbacks | None = None
) -> Iterator[DemoSession]:
    """Bring up the demo; at the end, however it comes, everything that was started is ended.

    Args:
        options: What it is to be.
        callbacks: Whom to tell what is going on.

    Yields:
        The demo, with predictions in it.

    Raises:
        LabelStudioError: If a part of it cannot be installed or started, or a port is taken.
    """
    callbacks = callbacks or DemoCallbacks()
    home = options.home.absolute()
    with ExitStack() as stack:
        stack.enter_context(_lock_home(home))
        port = _choose_port(options.label_studio_port, LABEL_STUDIO_PORT)
        backend_port = _choose_port(options.backend_port, BACKEND_PORT, excluded=port)
        program = options.label_studio_program or _install_label_studio(home, callbacks)
        callbacks.on_step("Starting Label Studio")
        server = stack.enter_context(
            label_studio_server.start_label_studio(program, home, port=port)
        )
        callbacks.on_step("Starting the backend")
        backend = stack.enter_context(_start_backend(options.serve_command, home, backend_port))
        callbacks.on_step("Preparing the project")
        asking = stack.enter_context(server.connect())
        provisioned = provision(asking, f"http://{LOOPBACK_ADDRESS}:{backend_port}")
        yield DemoSession(server, backend, provisioned)


def _install_label_studio(home: Path, told: DemoCallbacks) -> Path:
    """Label Studio, installed unless it is."""
    told.on_step(
        f"Installing Label Studio {installation.LABEL_STUDIO_VERSION} (the first time, minutes)"
    )
    return installation.install_label_studio(home, on_output=told.on_detail)


@contextmanager
def _lock_home(home: Path) -> Iterator[None]:
    """Keep a second demo out of the same home."""
    with try_lock(home / ".lock") as is_ours:
        if not is_ours:
            raise LabelStudioError(
                f"a demo runs in {home} already: end it, or give another --home", "start"
            )
        yield


def _choose_port(wanted: int | None, default: int, *, excluded: int = 0) -> int:
    """The port that was asked for, which must be free; else the usual one or any."""
    port = default if wanted is None else wanted
    if port != excluded and is_port_free(port):
        return port
    if wanted is None:
        return find_free_port()
    raise LabelStudioError(
        f"port {wanted} is taken by another program: end that, or give another port", "start"
    )


@contextmanager
def _start_backend(command: Sequence[str], home: Path, port: int) -> Iterator[SupervisedProcess]:
    """Our backend with the models of the demo's home, or the bundled version."""
    where = ["--host", LOOPBACK_ADDRESS, "--port", str(port), "--models", str(home / "models")]
    # Settings of another server of ours, passwords above all, are not meant for this one.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TAGALONG_")}
    log = home / "backend.log"
    with SupervisedProcess(
        "the backend", [*command, *where], environment=kept, log_path=log
    ) as backend:
        backend.wait_until_ready(
            lambda: is_http_ok(port, "/health"), timeout_seconds=BACKEND_START_TIMEOUT_SECONDS
        )
        yield backend
