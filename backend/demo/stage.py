"""The whole demo, up for as long as it is wanted: Label Studio, our backend, the project."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from backend.demo import installation, label_studio
from backend.demo.label_studio import RunningLabelStudio
from backend.demo.process import LOOPBACK, Leashed, answers, free_port, port_is_free
from backend.demo.provision import Provisioned, provision
from ner.errors import LabelStudioError

PORT = 8080  # Label Studio's own
BACKEND_PORT = 9090  # that of machine learning backends
BACKEND_START = 120.0  # seconds: it imports torch before it answers


@dataclass(frozen=True, slots=True)
class Plan:
    """What the demo is to be.

    Attributes:
        home: Gets all that it makes.
        serve: The command of our backend, which is followed by where to listen and its models.
        port: Of Label Studio; None for the usual one, or any if that is taken.
        backend_port: Of our backend; likewise.
        program: A ``label-studio`` that is installed already.
    """

    home: Path
    serve: Sequence[str]
    port: int | None = None
    backend_port: int | None = None
    program: Path | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """Whom to tell what is going on.

    Attributes:
        step: What begins now.
        detail: What it is at.
    """

    step: Callable[[str], None] = field(default=lambda _: None)
    detail: Callable[[str], None] = field(default=lambda _: None)


@dataclass(frozen=True, slots=True)
class Demo:
    """The demo while it is up."""

    label_studio: RunningLabelStudio
    backend: Leashed
    provisioned: Provisioned

    @property
    def url(self) -> str:
        """Of the project's tasks."""
        return f"{self.label_studio.url}/projects/{self.provisioned.project.id}/data"

    def wait(self) -> None:
        """Wait for ever, that is, until interrupted.

        Raises:
            LabelStudioError: If one of its servers ends by itself.
        """
        while True:
            for server in (self.label_studio.process, self.backend):
                if not server.running():
                    raise LabelStudioError(
                        f"{server.name} has ended; its log {server.log} ends with:\n"
                        f"{server.last_lines()}",
                        "start",
                    )
            time.sleep(0.5)


@contextmanager
def staged(plan: Plan, told: Told | None = None) -> Iterator[Demo]:
    """Bring up the demo; at the end, however it comes, everything that was started is ended.

    Args:
        plan: What it is to be.
        told: Whom to tell what is going on.

    Yields:
        The demo, with predictions in it.

    Raises:
        LabelStudioError: If a part of it cannot be installed or started, or a port is taken.
    """
    told = told or Told()
    home = plan.home.absolute()
    with ExitStack() as stack:
        stack.enter_context(_alone(home))
        port = _port(plan.port, PORT)
        backend_port = _port(plan.backend_port, BACKEND_PORT, besides=port)
        program = plan.program or _install(home, told)
        told.step("Starting Label Studio")
        server = stack.enter_context(label_studio.start(program, home, port=port))
        told.step("Starting the backend")
        backend = stack.enter_context(_serve(plan.serve, home, backend_port))
        told.step("Preparing the project")
        asking = stack.enter_context(server.connect())
        provisioned = provision(asking, f"http://{LOOPBACK}:{backend_port}")
        yield Demo(server, backend, provisioned)


def _install(home: Path, told: Told) -> Path:
    """Label Studio, installed unless it is."""
    told.step(f"Installing Label Studio {installation.VERSION} (the first time, minutes)")
    return installation.install(home, told=told.detail)


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Keep a second demo out of the same home."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LabelStudioError(
                f"a demo runs in {home} already: end it, or give another --home", "start"
            ) from error
        yield


def _port(wanted: int | None, usual: int, *, besides: int = 0) -> int:
    """The port that was asked for, which must be free; else the usual one or any."""
    port = usual if wanted is None else wanted
    if port != besides and port_is_free(port):
        return port
    if wanted is None:
        return free_port()
    raise LabelStudioError(
        f"port {wanted} is taken by another program: end that, or give another port", "start"
    )


@contextmanager
def _serve(command: Sequence[str], home: Path, port: int) -> Iterator[Leashed]:
    """Our backend with the models of the demo's home, or the bundled version."""
    where = ["--host", LOOPBACK, "--port", str(port), "--models", str(home / "models")]
    # Settings of another server of ours, passwords above all, are not meant for this one.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TAGALONG_")}
    log = home / "backend.log"
    with Leashed("the backend", [*command, *where], environment=kept, log=log) as backend:
        backend.wait_until(lambda: answers(port, "/health"), seconds=BACKEND_START)
        yield backend
