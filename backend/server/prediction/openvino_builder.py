"""Loads encoders with OpenVINO, and compiles versions that are not compiled yet.

Compiling runs in its own process, on one CPU at low priority, while PyTorch serves the version.
A failed build is not repeated before the next start of the server.
"""

import logging
import os
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from tagalong.backend.models.load import load_tier
from tagalong.backend.models.tier import Tier
from tagalong.backend.processes import terminate

NICE_COMMAND = ("nice", "-n", "10")
TERMINATION_GRACE_SECONDS = 5.0  # between SIGTERM and SIGKILL
SINGLE_CPU_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}

log = logging.getLogger(__name__)


class OpenVINOBuilder:
    """Loads encoders on their fastest runtime.

    Args:
        command: Compiles the version whose folder is its last argument; empty to use PyTorch only.
        log_path: Receives the output of the command.
    """

    def __init__(self, command: Sequence[str], log_path: Path) -> None:
        self._command, self._log_path = command, log_path
        self._attempted: set[Path] = set()
        self._running_build: tuple[Path, subprocess.Popen[bytes]] | None = None
        self._temporary_directory: TemporaryDirectory[str] | None = None
        self._lock, self._is_closed = threading.Lock(), False

    def load(self, folder: Path) -> Tier:
        """Load a version, with OpenVINO if it is compiled.

        Raises:
            RegistryError: If the version is damaged.
            BaseModelError: If its base model is missing.
        """
        return load_tier(folder, use_openvino=bool(self._command))

    def find_upgrade(self, folder: Path, tier: Tier) -> Tier | None:
        """Return the served version on OpenVINO, once it is compiled; start compiling if needed.

        Args:
            folder: Of the version.
            tier: The version as it is served.

        Returns:
            None while there is nothing faster than `tier`.

        Raises:
            TagalongError: If the compiled version cannot be loaded.
            OSError: If no process can be started.
        """
        if not self._command or not tier.can_use_openvino:
            return None
        if self._running_build is not None:
            built, process = self._running_build
            if (status := process.poll()) is None:
                return None
            self._running_build = None
            if status != 0:
                log.warning("%s could not be compiled: see %s", built.name, self._log_path)
            elif built == folder:
                upgraded = self.load(folder)
                if not upgraded.can_use_openvino:
                    self._attempted.discard(folder)  # if it is lost later, compile again
                    return upgraded
                log.warning("the compiled %s cannot be used: see %s", built.name, self._log_path)
        if folder not in self._attempted:
            self._attempted.add(folder)
            with self._lock:
                if not self._is_closed:
                    self._running_build = folder, self._start_build(folder)
        return None

    def close(self) -> None:
        """Stop a running build, and delete its temporary files."""
        with self._lock:
            self._is_closed = True
            build = self._running_build
        if build is not None:
            terminate(build[1], grace_seconds=TERMINATION_GRACE_SECONDS)
        if self._temporary_directory is not None:
            self._temporary_directory.cleanup()

    def _start_build(self, folder: Path) -> "subprocess.Popen[bytes]":
        if self._temporary_directory is None:  # a killed build leaves its temporary files behind
            self._temporary_directory = TemporaryDirectory(
                prefix="tagalong-engines-", ignore_cleanup_errors=True
            )
        temporary = {"TMPDIR": self._temporary_directory.name}
        with self._open_log() as output:
            process = subprocess.Popen(  # noqa: S603 (our own command)
                [*NICE_COMMAND, *self._command, str(folder)],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **SINGLE_CPU_ENVIRONMENT, **temporary},
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the server
            )
        # OpenVINO ignores the environment and takes all CPUs. Binding is best effort: not all
        # platforms have it, and the process may have exited.
        with suppress(OSError, AttributeError):
            os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
        return process

    def _open_log(self) -> "IO[bytes]":
        try:
            self._log_path.parent.mkdir(parents=True, exist_ok=True)
            return self._log_path.open("ab")
        except OSError as error:  # a full or read-only disk must not prevent the build
            log.warning("%s cannot be written (%s)", self._log_path, error.strerror)
            return Path(os.devnull).open("ab")
