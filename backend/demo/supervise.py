"""Runs a command, and ends it with all that it started as soon as our own input closes.

Run as a script, in a session of its own. Whoever starts it keeps the other end of its input: when
they are done they close it, and when they are killed the system does. So nothing outlives them, and
no file has to remember a process id, which by then may be a stranger's. Standard library only.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

TERMINATION_GRACE_SECONDS = 10.0  # seconds from being asked to end until being made to


def run_supervised(command: Sequence[str]) -> None:
    """Run a command until it ends or our input closes; then nothing of our group is left.

    Args:
        command: What to run, with its arguments.
    """
    # Caught, for it goes to the whole group, and not ignored, for a child would inherit that.
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 (it is our task)
    except OSError as error:
        sys.stdout.write(f"{command[0]}: {error.strerror}\n")
        sys.exit(1)
    ended = threading.Event()
    threading.Thread(target=_terminate_on_stdin_close, args=(ended,), daemon=True).start()
    code = child.wait()
    ended.set()
    sys.stdout.write(f"{os.path.basename(command[0])} ended with exit code {code}\n")  # noqa: PTH119
    sys.stdout.flush()
    os.killpg(0, signal.SIGKILL)  # what it started and left behind, and us


def _terminate_on_stdin_close(ended: threading.Event) -> None:
    """Wait until nobody holds our input any more; then ask the group to end, and make it."""
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGTERM)
    ended.wait(TERMINATION_GRACE_SECONDS)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    run_supervised(sys.argv[1:])
