"""Loads versions with OpenVINO, and compiles encoders that are not compiled yet, one at a time.

Compiling runs in its own process, on one CPU at low priority, while PyTorch serves the version.
A failed build is not repeated before the next start of the server.
"""

import logging
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from tagalong.backend.models.load import load_tagger
from tagalong.backend.models.tagger import DocumentTagger
from tagalong.backend.processes import start_logged, terminate

NICE_COMMAND = ("nice", "-n", "10")
TERMINATION_GRACE_SECONDS = 5.0  # between SIGTERM and SIGKILL
SINGLE_CPU_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}

log = logging.getLogger(__name__)


class OpenVINOBuilder:
    """Loads the versions of a tier on their fastest runtime.

    The command compiles the version whose folder is its last argument, and writes to the log;
    without a command, PyTorch runs everything. `load` takes a folder and `LoadOptions`.
    """

    def __init__(
        self,
        command: Sequence[str],
        log_path: Path,
        *,
        load: Callable[..., DocumentTagger] = load_tagger,
    ) -> None:
        self._command, self._log_path, self._load = command, log_path, load
        self._attempted: set[Path] = set()  # so that a build that fails is not repeated
        self._built: set[Path] = set()  # and not loaded yet
        self._running_build: tuple[Path, subprocess.Popen[bytes]] | None = None
        self._temporary_directory: TemporaryDirectory[str] | None = None
        self._lock, self._is_closed = threading.Lock(), False

    def load(self, folder: Path) -> DocumentTagger:
        """Load a version, with OpenVINO if it is compiled; raises as `load_tagger` does."""
        return self._load(folder, use_openvino=bool(self._command))

    def find_upgrade(self, folder: Path, tagger: DocumentTagger) -> DocumentTagger | None:
        """Return the served version on OpenVINO, once it is compiled; start compiling if needed.

        Returns None while there is nothing faster. Raises `TagalongError` if the compiled version
        cannot be loaded, and `OSError` if no process can be started.
        """
        if not self._command or not tagger.can_use_openvino:
            return None
        with self._lock:  # every model of the tier asks
            if not self._start_next_build(folder):
                return None
        upgraded = self.load(folder)
        if upgraded.can_use_openvino:
            log.warning("the compiled %s cannot be used: see %s", folder.name, self._log_path)
            return None
        self._attempted.discard(folder)  # if it is lost later, compile again
        return upgraded

    def _start_next_build(self, folder: Path) -> bool:
        """Start compiling a version unless another build runs; returns whether it is compiled."""
        if self._running_build is not None:
            built, process = self._running_build
            if (status := process.poll()) is None:
                return False
            self._running_build = None
            if status == 0:
                self._built.add(built)
            else:
                log.warning("%s could not be compiled: see %s", built.name, self._log_path)
        if folder in self._built:
            self._built.remove(folder)
            return True
        if folder not in self._attempted and not self._is_closed:
            self._attempted.add(folder)
            self._running_build = folder, self._start_build(folder)
        return False

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
                prefix="tagalong-openvino-builds-", ignore_cleanup_errors=True
            )
        process = start_logged(
            [*NICE_COMMAND, *self._command, str(folder)],
            self._log_path,
            environment={**SINGLE_CPU_ENVIRONMENT, "TMPDIR": self._temporary_directory.name},
        )
        # OpenVINO ignores the environment and takes all CPUs. Binding is best effort: not all
        # platforms have it, and the process may have exited.
        with suppress(OSError, AttributeError):
            os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
        return process
