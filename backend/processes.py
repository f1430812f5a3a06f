"""Processes that we have begun."""

import subprocess
from typing import Any


def end(process: "subprocess.Popen[Any]", *, grace: float) -> None:
    """Ask a process to end, and make it.

    Args:
        process: That was begun here; it may have ended.
        grace: Seconds from asking until making it.
    """
    process.terminate()
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
