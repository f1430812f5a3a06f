"""Trains nothing: ends a training as its argument says, as a process of its own would."""

import os
import signal
import sys
import time
from pathlib import Path

from backend.retraining.run import Outcome, RunState
from backend.retraining.runs import Runs


def main() -> None:
    models, how, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[4])
    runs = Runs(models)
    run = runs.run(number)
    assert run is not None
    with runs.alone(run.project, run.tier) as ours:
        assert ours
        runs.holds(number, os.getpid())
        marks = models / "marks"
        with marks.open("a") as file:
            file.write(f"{number}\n")
        if how == "waits" or (how == "is killed once" and marks.read_text().count("\n") == 1):
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
            time.sleep(60)
        elif how == "does not stop":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(60)
        elif how == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        runs.end(number, RunState.KEPT, Outcome("as it should be"))


if __name__ == "__main__":
    main()
