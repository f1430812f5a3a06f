"""Kill many runs of ``tagalong prelabel`` at random: nothing is lost, nothing is stored twice.

Each run labels its own project in a real Label Studio. It is killed with SIGKILL at random moments
and restarted until it is done. In every fourth run, Label Studio is killed and restarted too. With
--engine ray, workers are killed as well. Every run must end with one prediction for each task, the
same as in an undisturbed run.

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
from tests.chaos.prelabel_runs import ROOT, ray_workers, run_undisturbed, run_with_kills

MAX_KILLS = 4  # of one run
PAUSE_SECONDS = 7.0  # between searches for a worker to kill


class WorkerKiller(threading.Thread):
    """Kills a worker of a run on Ray, and its replacements, three in all."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.killed, self.ended = 0, threading.Event()

    def run(self) -> None:
        while self.killed < 3 and not self.ended.wait(PAUSE_SECONDS):
            for worker in ray_workers()[:1]:
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
                    self.killed += 1


def main() -> None:
    """Run all; exit with 1 if a run failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--program", type=Path, help="label-studio 1.23.2 in its own environment")
    options = parser.parse_args()
    program = options.program or installation.install_label_studio(ROOT / "tagalong-demo")
    sample = [document.text for document in sentences(40)]
    texts = [f"{sample[number % 40]} {number}" for number in range(options.tasks)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with start_label_studio(program, folder / "studio") as running:
            n_failed = run_all(program, folder, running, texts, options)
    sys.exit(n_failed > 0)


def run_all(
    program: Path,
    folder: Path,
    running: LabelStudioServer,
    texts: list[str],
    options: argparse.Namespace,
) -> int:
    """Run all, and return the number of failed runs."""
    port = int(running.url.rpartition(":")[2])
    engine = ("--engine", options.engine)
    expected, seconds = run_undisturbed(running, texts, folder / "undisturbed", *engine)
    print(
        f"{len(texts)} tasks, undisturbed: {sum(len(one[1]) for one in expected.answers)} regions"
    )
    n_failed = 0
    label_studios, timers = [running], list[threading.Timer]()

    def restart() -> None:
        """Kill Label Studio, and restart it at the same address."""
        os.killpg(label_studios[-1].process.pid, signal.SIGKILL)
        label_studios[-1].process.stop()
        while not is_port_free(port):  # its child processes end a moment later
            time.sleep(0.1)
        label_studios.append(start_label_studio(program, folder / "studio", port=port))

    def join_timers() -> None:
        for timer in timers:
            timer.join()

    n_killed = 0
    for number in count():
        if n_killed == options.runs:
            break
        with_studio = n_killed % 4 == 3

        def restart_later(kill: int, *, enabled: bool = with_studio) -> None:
            if enabled and kill == 1:
                timers.append(threading.Timer(seconds / 2, restart))
                timers[-1].start()

        worker_killer = WorkerKiller()
        if options.engine == "ray":
            worker_killer.start()
        result = run_with_kills(
            running,
            texts,
            folder / f"run-{number}",
            *engine,
            chance=random.Random(options.seed * 1000 + number),
            seconds=seconds,
            kills=MAX_KILLS,
            after_kill=restart_later,
            before_check=join_timers,
        )
        worker_killer.ended.set()
        is_correct = result.equals(expected)
        n_failed += not is_correct
        if not result.kills and not worker_killer.killed:  # it ended before the first kill
            continue
        n_killed += 1
        print(
            f"run {n_killed}: killed {result.kills} times"
            f"{', Label Studio once' if with_studio and result.kills else ''}"
            f"{f', {worker_killer.killed} workers' if worker_killer.killed else ''}: "
            f"{'as undisturbed' if is_correct else 'WRONG'}",
            flush=True,
        )
    label_studios[-1].process.stop()
    return n_failed


if __name__ == "__main__":
    main()
