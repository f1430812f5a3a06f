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

from backend.encoder import EncoderTier
from backend.forward import TorchForward
from backend.processes import end
from backend.tier import Tier, load_tier

NICE = ("nice", "-n", "10")
GRACE = 5.0  # seconds from asking it to end until making it
ONE_CPU = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}

log = logging.getLogger(__name__)


class EngineRoom:
    """Loads encoders as fast as they can be served.

    Args:
        command: Makes the engine of a version whose folder is added to it; empty to make none.
        log_path: Where it writes what it has to say.
    """

    def __init__(self, command: Sequence[str], log_path: Path) -> None:
        self._command, self._log_path = command, log_path
        self._tried: set[Path] = set()
        self._making: tuple[Path, subprocess.Popen[bytes]] | None = None
        self._scraps: TemporaryDirectory[str] | None = None
        self._turn, self._is_closed = threading.Lock(), False

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
        return load_tier(folder, engine=bool(self._command))

    def better(self, folder: Path, tier: Tier) -> Tier | None:
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
        if not self._command or not _could_have_one(tier):
            return None
        if self._making is not None:
            made, process = self._making
            if (status := process.poll()) is None:
                return None
            self._making = None
            if status != 0:
                log.warning("no engine could be made of %s: see %s", made.name, self._log_path)
            elif made == folder:
                found = self.load(folder)
                if not _could_have_one(found):
                    self._tried.discard(folder)
                    return found
                log.warning("the engine made of %s is of no use: see %s", made.name, self._log_path)
        if folder not in self._tried:
            self._tried.add(folder)
            with self._turn:
                if not self._is_closed:
                    self._making = folder, self._begin(folder)
        return None

    def close(self) -> None:
        """End what is being made, and clear away what it has written."""
        with self._turn:
            self._is_closed = True
            making = self._making
        if making is not None:
            end(making[1], grace=GRACE)
        if self._scraps is not None:
            self._scraps.cleanup()

    def _begin(self, folder: Path) -> "subprocess.Popen[bytes]":
        """Start a process that makes an engine."""
        if self._scraps is None:  # one that is ended does not clear away what it wrote
            self._scraps = TemporaryDirectory(
                prefix="tagalong-engines-", ignore_cleanup_errors=True
            )
        with self._log() as said:
            process = subprocess.Popen(  # noqa: S603 (our own command)
                [*NICE, *self._command, str(folder)],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **ONE_CPU, "TMPDIR": self._scraps.name},
                stdout=said,
                stderr=said,
                start_new_session=True,  # Ctrl-C is for the server
            )
        # Its libraries would take all CPUs there are, whatever their environment says. Where the
        # system cannot bind a process, or it has ended already, that is how it is.
        with suppress(OSError, AttributeError):
            os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
        return process

    def _log(self) -> "IO[bytes]":
        """Where it writes what it has to say: nowhere, where no file can be."""
        try:
            self._log_path.parent.mkdir(parents=True, exist_ok=True)
            return self._log_path.open("ab")
        except OSError as error:
            log.warning("%s cannot be written (%s)", self._log_path, error.strerror)
            return Path(os.devnull).open("ab")


def _could_have_one(tier: Tier) -> bool:
    """Whether a tier is an encoder whose passes PyTorch runs on a CPU."""
    return (
        isinstance(tier, EncoderTier)
        and isinstance(tier.forward, TorchForward)
        and tier.forward.model.device.type == "cpu"
    )
