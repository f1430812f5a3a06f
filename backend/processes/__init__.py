"""Processes that we have begun."""

import subprocess
from typing import Any


def terminate(process: "subprocess.Popen[Any]", *, grace_seconds: float) -> None:
    """Ask a process to end, and make it.

    Args:
        process: That was begun here; it may have ended.
        grace_seconds: Seconds from asking until making it.
    """
    process.terminate()
    try:
        process.wait(grace_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
