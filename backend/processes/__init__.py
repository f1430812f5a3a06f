"""Child processes."""

import subprocess
from typing import Any


def terminate(process: "subprocess.Popen[Any]", *, grace_seconds: float) -> None:
    """Stop a child process: SIGTERM, and after the grace period SIGKILL.

    Args:
        process: A child process; it may have ended.
        grace_seconds: Time between the two signals.
    """
    process.terminate()
    try:
        process.wait(grace_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
