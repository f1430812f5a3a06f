"""Saves a state repeatedly and gets SIGTERM at random moments. Argument: the file.

It runs in its own process, because a signal affects the whole process: libraries of other
tests have threads and signal handlers.
"""

import os
import signal
import sys
from pathlib import Path
from random import Random
from threading import Timer

import torch

from tagalong.training.loop.training_state import read_state, write_state

TIMES = 40


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def save_until_interrupted(path: Path, state: dict[str, torch.Tensor], seconds: float) -> None:
    Timer(seconds, os.kill, (os.getpid(), signal.SIGTERM)).start()
    while True:
        write_state(path, state)


def main() -> None:
    path = Path(sys.argv[1])
    state = {str(number): torch.zeros(1000) for number in range(200)}
    draw = Random(1)
    write_state(path, state)
    signal.signal(signal.SIGTERM, interrupt)
    for _ in range(TIMES):
        try:
            save_until_interrupted(path, state, draw.uniform(0, 0.05))
        except KeyboardInterrupt:
            assert len(read_state(path, device=torch.device("cpu"))) == len(state)
            assert list(path.parent.iterdir()) == [path]
    print(TIMES)


if __name__ == "__main__":
    main()
