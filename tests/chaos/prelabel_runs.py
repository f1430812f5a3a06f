"""Runs of ``tagalong prelabel`` on a project, killed at random moments and restarted."""

import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tagalong.backend.demo.label_studio_server import LabelStudioServer
from tagalong.backend.demo.provision import read_demo_label_config
from tagalong.backend.label_studio.api.client import LabelStudioClient
from tests.forked_process import ForkedProcess

ROOT = Path(__file__).parents[2]
UNREACHABLE = "cannot be reached"
WORKER = "ray::MapWorker"  # Ray's name of a process that predicts


@dataclass(frozen=True)
class PrelabelResult:
    """Predictions of a project after a run.

    Attributes:
        answers: Score and regions of each task, in the order of creation.
        count: Number of predictions of each task.
        kills: Number of restarts.
    """

    answers: tuple[tuple[float | None, tuple[Any, ...]], ...]
    count: Counter[int]
    kills: int

    def equals(self, other: "PrelabelResult") -> bool:
        """Whether each task has one prediction, equal to that of the other run."""
        return set(self.count.values()) == {1} and self.answers == other.answers


def create_project_with_tasks(client: LabelStudioClient, texts: Sequence[str]) -> int:
    """Create a project with a task for each text."""
    project = client.create_project("Prelabelled", read_demo_label_config()).id
    for start in range(0, len(texts), 250):
        chunk = texts[start : start + 250]
        client.tasks.add(project, [{"data": {"text": text}} for text in chunk])
    return project


def start_prelabel(
    running: LabelStudioServer, project: int, folder: Path, *options: str
) -> ForkedProcess:
    """Start ``tagalong prelabel`` in its own process."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "LABEL_STUDIO_URL": running.url,
        "LABEL_STUDIO_API_KEY": running.account.token,
        "HF_HUB_OFFLINE": "1",
    }
    command = [
        "-m",
        "tagalong",
        "prelabel",
        "--project",
        str(project),
        "--rate",
        "1000",
    ]
    command += ["--models", str(folder / "models"), "--journal", str(folder / "batch.journal")]
    return ForkedProcess(*command, *options, env=environment)


def ray_workers() -> list[int]:
    """Find the Ray workers of commands that this process started."""
    parents, workers = {}, []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, status = ((process / name).read_text() for name in ("cmdline", "status"))
        except (OSError, UnicodeDecodeError):  # it has ended, or its name is not text
            continue
        number = int(process.name)
        parents[number] = int(status.partition("PPid:")[2].split(maxsplit=1)[0])
        if command.startswith(WORKER):
            workers.append(number)
    return [worker for worker in workers if os.getpid() in _ancestors(worker, parents)]


def _ancestors(process: int, parents: Mapping[int, int]) -> Iterator[int]:
    """Yield the parent of a process, its parent, and so on."""
    while process := parents.get(process, 0):
        yield process


def read_predictions(client: LabelStudioClient, project: int, kills: int) -> PrelabelResult:
    """Read the predictions of a project."""
    tasks = sorted(task.id for task in client.tasks.iterate_for_project(project))
    stored = client.predictions.list_for_project(project)
    by_task = {prediction.task: prediction for prediction in stored}
    answers = []
    for task in tasks:
        prediction = by_task.get(task)
        regions = (
            ()
            if prediction is None
            else tuple(
                (region["value"]["start"], region["value"]["end"], *region["value"]["labels"])
                for region in prediction.result
            )
        )
        answers.append((None if prediction is None else prediction.score, regions))
    count = Counter(dict.fromkeys(tasks, 0))
    count.update(prediction.task for prediction in stored)
    return PrelabelResult(tuple(answers), count, kills)


def run_undisturbed(
    running: LabelStudioServer, texts: Sequence[str], folder: Path, *options: str
) -> tuple[PrelabelResult, float]:
    """Run without kills; also returns the seconds."""
    with running.connect() as client:
        project = create_project_with_tasks(client, texts)
        start = time.monotonic()
        process = start_prelabel(running, project, folder, *options)
        _, stderr = process.communicate()
        assert process.returncode == 0, stderr
        return read_predictions(client, project, 0), time.monotonic() - start


def run_with_kills(
    running: LabelStudioServer,
    texts: Sequence[str],
    folder: Path,
    *options: str,
    chance: random.Random,
    seconds: float,
    kills: int,
    after_kill: Callable[[int], None] = lambda _: None,
    before_check: Callable[[], None] = lambda: None,
) -> PrelabelResult:
    """Kill a run at random moments, and restart it until it is done.

    Args:
        running: Label Studio server.
        texts: Texts of the tasks.
        folder: Folder of the journal.
        options: Options of the command.
        chance: Source of the random moments.
        seconds: Duration of an undisturbed run.
        kills: Maximum number of kills.
        after_kill: Called after each kill with its number.
        before_check: Called when the run is done, before its project is read.

    Returns:
        The predictions at the end.
    """
    n_kills = 0
    with running.connect() as client:
        project = create_project_with_tasks(client, texts)
        while True:
            process = start_prelabel(running, project, folder, *options)
            try:
                _, stderr = process.communicate(
                    timeout=chance.uniform(0, seconds) if n_kills < kills else None
                )
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                n_kills += 1
                after_kill(n_kills)
                continue
            if process.returncode == 1 and UNREACHABLE in stderr:
                time.sleep(1)  # it was started while Label Studio was down
                continue
            assert process.returncode == 0, stderr
            before_check()
            return read_predictions(client, project, n_kills)
