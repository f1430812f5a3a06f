"""``tagalong`` as one of several commands that publish at the same time.

Usage: train_concurrently.py FOLDER COUNT ARGUMENT...

COUNT commands wait for each other before they lock the store: to create a staging folder, and to
publish the version.
"""

import fcntl
import itertools
import os
import sys
import time
from pathlib import Path

from tagalong.cli.main import main

N_MEETINGS = 2
PATIENCE = 120.0  # seconds


def main_in_step(folder: Path, count: int, arguments: list[str]) -> None:
    numbers, flock = itertools.count(), fcntl.flock

    def flock_together(file, operation):
        descriptor = file if isinstance(file, int) else file.fileno()
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        if name == ".lock" and operation & fcntl.LOCK_EX:
            number = next(numbers)
            if number < N_MEETINGS:
                meet(number)
        flock(file, operation)

    def meet(number):
        (folder / f"{number}-{os.getpid()}").mkdir()
        end = time.monotonic() + PATIENCE
        while len(list(folder.glob(f"{number}-*"))) < count:
            assert time.monotonic() < end, "nobody came"
            time.sleep(0.001)

    fcntl.flock = flock_together
    main(arguments)


if __name__ == "__main__":
    main_in_step(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
