"""The whole demo: Label Studio, our backend and the project."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tagalong.backend.demo.installation import LABEL_STUDIO_VERSION, install_label_studio
from tagalong.backend.demo.label_studio_server import LabelStudioServer, start_label_studio
from tagalong.backend.demo.provision import DemoProject, provision
from tagalong.backend.demo.supervised_process import (
    LOOPBACK_ADDRESS,
    SupervisedProcess,
    find_free_port,
    is_http_ok,
    is_port_free,
    port_taken_error,
)
from tagalong.backend.storage.locks import try_lock
from tagalong.ner.atomic_io import PRIVATE_FOLDER_MODE
from tagalong.ner.errors import LabelStudioError

LABEL_STUDIO_PORT = 8080  # the default of Label Studio
BACKEND_PORT = 9090  # the default of ML backends
BACKEND_START_TIMEOUT_SECONDS = 120.0  # it imports torch before it answers


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """Settings of the demo; a port of None is the default port, or a free one if that is taken."""

    home: Path  # for all files of the demo
    serve_command: Sequence[str]  # of our backend; host, port and models folder are appended
    label_studio_port: int | None = None
    backend_port: int | None = None
    label_studio_program: Path | None = None  # None to install one


@dataclass(frozen=True, slots=True)
class DemoSession:
    """The running demo."""

    label_studio: LabelStudioServer
    backend: SupervisedProcess
    demo_project: DemoProject

    @property
    def url(self) -> str:
        """Address of the project's tasks."""
        return f"{self.label_studio.url}/projects/{self.demo_project.project.id}/data"

    def wait(self) -> None:
        """Wait until interrupted; raises `LabelStudioError` if one of the servers ends."""
        while True:
            for server in (self.label_studio.process, self.backend):
                if not server.is_running():
                    raise server.ended_error("has ended")
            time.sleep(0.5)


@contextmanager
def open_demo(
    options: DemoOptions,
    on_step: Callable[[str], None] = lambda _: None,
    on_detail: Callable[[str], None] = lambda _: None,
) -> Iterator[DemoSession]:
    """Start the demo, and end all its processes when the context ends.

    Yields it with predictions in the project. Raises `LabelStudioError` if a part cannot be
    installed or started, or a port is taken.
    """
    home = options.home.absolute()
    home.mkdir(PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
    with ExitStack() as stack:
        if not stack.enter_context(try_lock(home / ".lock")):
            message = f"a demo runs in {home} already: end it, or give another --home"
            raise LabelStudioError(message, "start", code="demo-already-running")
        port = _choose_port(options.label_studio_port, LABEL_STUDIO_PORT)
        backend_port = _choose_port(options.backend_port, BACKEND_PORT, excluded=port)
        program = options.label_studio_program
        if program is None:
            on_step(f"Installing Label Studio {LABEL_STUDIO_VERSION} (the first time, minutes)")
            program = install_label_studio(home, on_output=on_detail)
        on_step("Starting Label Studio")
        server = stack.enter_context(start_label_studio(program, home, port=port))
        on_step("Starting the backend")
        backend = stack.enter_context(_start_backend(options.serve_command, home, backend_port))
        backend.wait_until_ready(
            lambda: is_http_ok(backend_port, "/health"),
            timeout_seconds=BACKEND_START_TIMEOUT_SECONDS,
        )
        on_step("Preparing the project")
        client = stack.enter_context(server.connect())
        project = provision(client, f"http://{LOOPBACK_ADDRESS}:{backend_port}")
        yield DemoSession(server, backend, project)


def _choose_port(requested: int | None, default: int, *, excluded: int = 0) -> int:
    """The requested port, which must be free, or the default port, or any free one."""
    port = default if requested is None else requested
    if port != excluded and is_port_free(port):
        return port
    if requested is None:
        return find_free_port()
    raise port_taken_error(requested)


def _start_backend(command: Sequence[str], home: Path, port: int) -> SupervisedProcess:
    arguments = ["--host", LOOPBACK_ADDRESS, "--port", str(port), "--models", str(home / "models")]
    # Settings in the environment, passwords above all, are meant for another server of ours.
    variables = {
        name: value for name, value in os.environ.items() if not name.startswith("TAGALONG_")
    }
    return SupervisedProcess(
        "the backend", [*command, *arguments], environment=variables, log_path=home / "backend.log"
    )
