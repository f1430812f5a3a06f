"""Runs a command, and ends it with its child processes as soon as stdin closes.

Run as a script, in its own session. The parent keeps the other end of stdin, and closes it at the
end; if the parent is killed, the system closes it. So no process outlives the parent, and no file
has to keep process ids, which the system reuses. Standard library only.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

TERMINATION_GRACE_SECONDS = 10.0  # between SIGTERM and SIGKILL


def run_supervised(command: Sequence[str]) -> None:
    """Run a command until it ends or stdin closes, then kill the process group."""
    # SIGTERM goes to the whole group. It is not ignored, because the child would inherit that.
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 (our own command)
    except OSError as error:
        sys.stdout.write(f"{command[0]}: {error.strerror}\n")
        sys.exit(1)
    ended = threading.Event()
    threading.Thread(target=_terminate_on_stdin_close, args=(ended,), daemon=True).start()
    code = child.wait()
    ended.set()
    sys.stdout.write(f"{os.path.basename(command[0])} ended with exit code {code}\n")  # noqa: PTH119
    sys.stdout.flush()
    os.killpg(0, signal.SIGKILL)  # child processes that it left behind, and us


def _terminate_on_stdin_close(ended: threading.Event) -> None:
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGTERM)
    ended.wait(TERMINATION_GRACE_SECONDS)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    run_supervised(sys.argv[1:])
