"""Many runs of ``tagalong prelabel``, killed at random: nothing is lost, nothing is there twice.

Each run labels a project of its own in a real Label Studio, and is killed with SIGKILL at random
moments and begun again until it is done; in every fourth, Label Studio itself is killed too, and
started again. With --engine ray, a worker is killed as soon as it is there, too, in every run. All
must end with one prediction for each task, the one of an undisturbed run.

    PYTHONPATH=. python tests/chaos/kill_prelabel.py [--runs 20] [--tasks 1000] [--seed 0]
        [--engine local|ray]
        [--program tagalong-demo/label-studio-1.23.2/bin/label-studio]
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

from tagalong.backend.demo import installation
from tagalong.backend.demo.label_studio_server import LabelStudioServer, start_label_studio
from tagalong.backend.demo.supervised_process import is_port_free
from tests.bc5cdr_sentences import sentences
from tests.chaos.killing import ROOT, killed, ray_workers, undisturbed

KILLS = 4  # of one run, at most
PAUSE = 7.0  # seconds between two looks for a worker to kill


class Murderer(threading.Thread):
    """Kills a worker of a run on Ray, waits until another is there, and kills that, three times."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.killed, self.ended = 0, threading.Event()

    def run(self) -> None:
        while self.killed < 3 and not self.ended.wait(PAUSE):
            for worker in ray_workers()[:1]:
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
                    self.killed += 1


def main() -> None:
    """Run it, and end with 1 if a run went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--program", type=Path, help="label-studio 1.23.2 of its own environment")
    options = parser.parse_args()
    program = options.program or installation.install_label_studio(ROOT / "tagalong-demo")
    some = [document.text for document in sentences(40)]
    texts = [f"{some[number % 40]} {number}" for number in range(options.tasks)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with start_label_studio(program, folder / "studio") as running:
            wrong = run_all(program, folder, running, texts, options)
    sys.exit(wrong > 0)


def run_all(
    program: Path,
    folder: Path,
    running: LabelStudioServer,
    texts: list[str],
    options: argparse.Namespace,
) -> int:
    """Run after run; how many went wrong."""
    port = int(running.url.rpartition(":")[2])
    engine = ("--engine", options.engine)
    expected, seconds = undisturbed(running, texts, folder / "undisturbed", *engine)
    print(
        f"{len(texts)} tasks, undisturbed: {sum(len(one[1]) for one in expected.answers)} regions"
    )
    wrong = 0
    studios, timers = [running], list[threading.Timer]()

    def restart() -> None:
        """Kill Label Studio, and start it again where it was."""
        os.killpg(studios[-1].process.pid, signal.SIGKILL)
        studios[-1].stop()
        while not is_port_free(port):  # what it had started ends a moment later
            time.sleep(0.1)
        studios.append(start_label_studio(program, folder / "studio", port=port))

    done = 0
    for number in count():
        if done == options.runs:
            break
        with_studio = done % 4 == 3

        def bounce(kill: int, *, wanted: bool = with_studio) -> None:
            if wanted and kill == 1:
                timers.append(threading.Timer(seconds / 2, restart))
                timers[-1].start()

        murderer = Murderer()
        if options.engine == "ray":
            murderer.start()
        found = killed(
            running,
            texts,
            folder / f"run-{number}",
            *engine,
            chance=random.Random(options.seed * 1000 + number),
            seconds=seconds,
            kills=KILLS,
            meanwhile=bounce,
            settle=lambda: [timer.join() for timer in timers],
        )
        murderer.ended.set()
        right = found.is_like(expected)
        wrong += not right
        if not found.kills and not murderer.killed:  # it was quicker than whoever came to kill it
            continue
        done += 1
        print(
            f"run {done}: killed {found.kills} times"
            f"{', Label Studio once' if with_studio and found.kills else ''}"
            f"{f', {murderer.killed} workers' if murderer.killed else ''}: "
            f"{'as undisturbed' if right else 'WRONG'}",
            flush=True,
        )
    studios[-1].stop()
    return wrong


if __name__ == "__main__":
    main()
