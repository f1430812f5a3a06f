"""The engine room: loads encoders on their CPU engine, and has one made where there is none.

An engine is made in a process of its own, on one CPU and after everything else, while PyTorch
serves; then it takes over. What cannot be made is tried again by the next server, not before; one
that served and is lost, when its version is loaded again.
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
TERMINATION_GRACE_SECONDS = 5.0  # seconds from asking it to end until making it
SINGLE_CPU_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}

log = logging.getLogger(__name__)


class OpenVINOBuilder:
    """Loads encoders as fast as they can be served.

    Args:
        command: Makes the engine of a version whose folder is added to it; empty to make none.
        log_path: Where it writes what it has to say.
    """

    def __init__(self, command: Sequence[str], log_path: Path) -> None:
        self._command, self._log_path = command, log_path
        self._attempted: set[Path] = set()
        self._running_build: tuple[Path, subprocess.Popen[bytes]] | None = None
        self._temporary_directory: TemporaryDirectory[str] | None = None
        self._lock, self._is_closed = threading.Lock(), False

    def load(self, folder: Path) -> Tier:
        """Make a version's folder a tier, on its engine if there is one.

        Args:
            folder: Of the version.

        Returns:
            The tier.

        Raises:
            StoreError: If the version is damaged.
            BaseModelError: If its base is not there.
        """
        return load_tier(folder, use_openvino=bool(self._command))

    def find_upgrade(self, folder: Path, tier: Tier) -> Tier | None:
        """See whether a version that serves could do so on an engine by now.

        Args:
            folder: Of the version.
            tier: That serves.

        Returns:
            The same version on its engine; None while there is none, or where it has one.

        Raises:
            TagalongError: If its engine is there, and the version cannot be loaded again.
            OSError: If no process can be begun.
        """
        if not self._command or not tier.can_use_openvino:
            return None
        if self._running_build is not None:
            made, process = self._running_build
            if (status := process.poll()) is None:
                return None
            self._running_build = None
            if status != 0:
                log.warning("no engine could be made of %s: see %s", made.name, self._log_path)
            elif made == folder:
                found = self.load(folder)
                if not found.can_use_openvino:
                    self._attempted.discard(folder)
                    return found
                log.warning("the engine made of %s is of no use: see %s", made.name, self._log_path)
        if folder not in self._attempted:
            self._attempted.add(folder)
            with self._lock:
                if not self._is_closed:
                    self._running_build = folder, self._start_build(folder)
        return None

    def close(self) -> None:
        """End what is being made, and clear away what it has written."""
        with self._lock:
            self._is_closed = True
            making = self._running_build
        if making is not None:
            terminate(making[1], grace_seconds=TERMINATION_GRACE_SECONDS)
        if self._temporary_directory is not None:
            self._temporary_directory.cleanup()

    def _start_build(self, folder: Path) -> "subprocess.Popen[bytes]":
        """Start a process that makes an engine."""
        if self._temporary_directory is None:  # one that is ended does not clear away what it wrote
            self._temporary_directory = TemporaryDirectory(
                prefix="tagalong-engines-", ignore_cleanup_errors=True
            )
        with self._open_log() as said:
            process = subprocess.Popen(  # noqa: S603 (our own command)
                [*NICE_COMMAND, *self._command, str(folder)],
                stdin=subprocess.DEVNULL,
                env={
                    **os.environ,
                    **SINGLE_CPU_ENVIRONMENT,
                    "TMPDIR": self._temporary_directory.name,
                },
                stdout=said,
                stderr=said,
                start_new_session=True,  # Ctrl-C is for the server
            )
        # Its libraries would take all CPUs there are, whatever their environment says. Where the
        # system cannot bind a process, or it has ended already, that is how it is.
        with suppress(OSError, AttributeError):
            os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
        return process

    def _open_log(self) -> "IO[bytes]":
        """Where it writes what it has to say: nowhere, where no file can be."""
        try:
            self._log_path.parent.mkdir(parents=True, exist_ok=True)
            return self._log_path.open("ab")
        except OSError as error:
            log.warning("%s cannot be written (%s)", self._log_path, error.strerror)
            return Path(os.devnull).open("ab")
