"""Child processes that work beside the server."""

import logging
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tagalong.ner.atomic_io import PRIVATE_FILE_MODE, PRIVATE_FOLDER_MODE

log = logging.getLogger(__name__)


def start_logged(
    command: Sequence[str], log_path: Path, *, environment: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    """Start a command in our environment and a bit more; its output is appended to a log.

    Only its owner can read a new log. If it cannot be written, the output is lost. Raises `OSError`
    if no process can be started.
    """
    with _open_log(log_path) as output:
        return subprocess.Popen(  # noqa: S603 (our own command)
            command,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for the server, which ends its processes itself
        )


def _open_log(path: Path) -> IO[bytes]:
    try:
        path.parent.mkdir(PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
        path.touch(PRIVATE_FILE_MODE)  # it names files and projects
        return path.open("ab")
    except OSError as error:  # a full or read-only disk must not prevent the work
        log.warning("%s cannot be written (%s)", path, error.strerror)
        return Path(os.devnull).open("ab")


def terminate(process: "subprocess.Popen[Any]", *, grace_seconds: float) -> None:
    """Stop a child process, which may have ended: SIGTERM, and after the grace period SIGKILL."""
    process.terminate()
    try:
        process.wait(grace_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
