"""Runs of ``tagalong prelabel`` on a project, killed at random moments and begun again."""

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tagalong.backend.demo.label_studio_server import LabelStudioServer
from tagalong.backend.demo.provision import read_demo_label_config
from tagalong.backend.label_studio.api.client import LabelStudioClient

ROOT = Path(__file__).parents[2]
AWAY = "cannot be reached"
WORKER = "ray::MapWorker"  # what Ray calls a process that predicts


@dataclass(frozen=True)
class Prelabelled:
    """What a project holds after a run.

    Attributes:
        answers: Score and regions, by the task's number in the order they were added.
        count: Predictions of each task.
        kills: How often it took to be begun again.
    """

    answers: tuple[tuple[float | None, tuple[Any, ...]], ...]
    count: Counter[int]
    kills: int

    def is_like(self, other: "Prelabelled") -> bool:
        """Whether each task has one prediction, and the same as elsewhere."""
        return set(self.count.values()) == {1} and self.answers == other.answers


def new_project(studio: LabelStudioClient, texts: Sequence[str]) -> int:
    """A project with a task for each text."""
    project = studio.create_project("Prelabelled", read_demo_label_config()).id
    for start in range(0, len(texts), 250):
        some = texts[start : start + 250]
        studio.tasks.add(project, [{"data": {"text": text}} for text in some])
    return project


def begin(
    running: LabelStudioServer, project: int, folder: Path, *options: str
) -> "subprocess.Popen[str]":
    """``tagalong prelabel`` in a process of its own."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "LABEL_STUDIO_URL": running.url,
        "LABEL_STUDIO_API_KEY": running.account.token,
        "HF_HUB_OFFLINE": "1",
    }
    command = [
        sys.executable,
        "-m",
        "tagalong",
        "prelabel",
        "--project",
        str(project),
        "--rate",
        "1000",
    ]
    command += ["--models", str(folder / "models"), "--journal", str(folder / "batch.journal")]
    return subprocess.Popen(
        [*command, *options], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    )


def ray_workers() -> list[int]:
    """The processes that predict on Ray for a command that this process began."""
    parents, workers = {}, []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, status = ((process / name).read_text() for name in ("cmdline", "status"))
        except (OSError, UnicodeDecodeError):  # it has ended, or is no worker
            continue
        number = int(process.name)
        parents[number] = int(status.partition("PPid:")[2].split(maxsplit=1)[0])
        if command.startswith(WORKER):
            workers.append(number)
    return [worker for worker in workers if os.getpid() in _ancestors(worker, parents)]


def _ancestors(process: int, parents: Mapping[int, int]) -> Iterator[int]:
    """Who began a process, and who began that."""
    while process := parents.get(process, 0):
        yield process


def look(studio: LabelStudioClient, project: int, kills: int) -> Prelabelled:
    """What is there now."""
    tasks = sorted(task.id for task in studio.tasks.iterate_for_project(project))
    stored = studio.predictions.list_for_project(project)
    by_task = {one.task: one for one in stored}
    answers = []
    for task in tasks:
        one = by_task.get(task)
        regions = (
            ()
            if one is None
            else tuple(
                (region["value"]["start"], region["value"]["end"], *region["value"]["labels"])
                for region in one.result
            )
        )
        answers.append((None if one is None else one.score, regions))
    count = Counter(dict.fromkeys(tasks, 0))
    count.update(one.task for one in stored)
    return Prelabelled(tuple(answers), count, kills)


def undisturbed(
    running: LabelStudioServer, texts: Sequence[str], folder: Path, *options: str
) -> tuple[Prelabelled, float]:
    """A run that nobody ends, and the seconds it took."""
    with running.connect() as studio:
        project = new_project(studio, texts)
        began = time.monotonic()
        process = begin(running, project, folder, *options)
        _, said = process.communicate()
        assert process.returncode == 0, said
        return look(studio, project, 0), time.monotonic() - began


def killed(
    running: LabelStudioServer,
    texts: Sequence[str],
    folder: Path,
    *options: str,
    chance: random.Random,
    seconds: float,
    kills: int,
    meanwhile: Callable[[int], None] = lambda _: None,
    settle: Callable[[], None] = lambda: None,
) -> Prelabelled:
    """A run that is killed at random moments, and begun again until it is done.

    Args:
        running: A Label Studio.
        texts: Of the tasks.
        folder: For the journal.
        options: Of the command.
        chance: Draws the moments.
        seconds: That an undisturbed run takes.
        kills: How often to kill it, at most.
        meanwhile: Called with the number of the kill after each.
        settle: Called when the run is done, before its project is looked at.

    Returns:
        What is there in the end.
    """
    done = 0
    with running.connect() as studio:
        project = new_project(studio, texts)
        while True:
            process = begin(running, project, folder, *options)
            try:
                _, said = process.communicate(
                    timeout=chance.uniform(0, seconds) if done < kills else None
                )
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                done += 1
                meanwhile(done)
                continue
            if process.returncode == 1 and AWAY in said:
                time.sleep(1)  # a command that begins while Label Studio is away says so, and ends
                continue
            assert process.returncode == 0, said
            settle()
            return look(studio, project, done)
