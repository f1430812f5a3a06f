"""Label Studio's time to store predictions and list tasks, by project size.

A real Label Studio on SQLite. Projects of several sizes get the same request of predictions, in
turn and several times, and list the same page of tasks. Growth comes from the project, not from the
predictions.

    PYTHONPATH=. python tests/bench/bench_import.py [--sizes 1000 5000 20000] [--rounds 3]
        [--program tagalong-demo/label-studio-1.23.2/bin/label-studio]

"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tagalong.backend.demo import installation
from tagalong.backend.demo.label_studio_server import start_label_studio
from tagalong.backend.demo.provision import read_demo_label_config
from tagalong.backend.label_studio.api.client import LabelStudioClient
from tests.bc5cdr_sentences import abstracts

ROOT = Path(__file__).parents[2]
PREDICTIONS_PER_REQUEST = 500


def time_call(call: Callable[[], object]) -> float:
    """Measure the seconds of a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def create_project(studio: LabelStudioClient, size: int) -> tuple[int, list[int]]:
    """Create a project of a size; returns the ids of the project and its tasks."""
    project = studio.create_project(f"{size} tasks", read_demo_label_config()).id
    texts = [document.text for document in abstracts()]
    ids: list[int] = []
    while len(ids) < size:
        numbers = range(len(ids), min(len(ids) + 1000, size))
        tasks = [{"data": {"text": f"{texts[number % len(texts)]} {number}"}} for number in numbers]
        ids += studio.tasks.add(project, tasks)
    return project, ids


def make_prediction(task: int, version: str) -> dict[str, object]:
    """Make a prediction with ten regions, about as many as an abstract has."""
    regions = [
        {
            "id": f"{number}",
            "from_name": "label",
            "to_name": "text",
            "type": "labels",
            "score": 0.9,
            "value": {"start": number, "end": number + 1, "text": "x", "labels": ["Chemical"]},
        }
        for number in range(10)
    ]
    return {"task": task, "result": regions, "score": 0.5, "model_version": version}


def main() -> None:
    """Print a row for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 5000, 20_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--program", type=Path)
    options = parser.parse_args()
    program = options.program or installation.install_label_studio(ROOT / "tagalong-demo")
    with (
        tempfile.TemporaryDirectory() as home,
        start_label_studio(program, Path(home)) as running,
        running.connect() as studio,
    ):
        projects = {size: create_project(studio, size) for size in options.sizes}
        storing_seconds: dict[int, list[float]] = {size: [] for size in options.sizes}
        listing_seconds: dict[int, list[float]] = {size: [] for size in options.sizes}
        for number in range(options.rounds):
            for size, (project, ids) in projects.items():
                predictions = [
                    make_prediction(task, f"v-{number}") for task in ids[:PREDICTIONS_PER_REQUEST]
                ]
                storing_seconds[size].append(
                    time_call(lambda: studio.predictions.add(project, predictions))  # noqa: B023
                )
                middle_id = ids[len(ids) // 2]
                listing_seconds[size].append(
                    time_call(lambda: studio.tasks.list_after(project, middle_id))  # noqa: B023
                )
        smallest = statistics.median(storing_seconds[options.sizes[0]])
        print(
            f"| tasks | {PREDICTIONS_PER_REQUEST} predictions, s | times the smallest "
            "| page of tasks, s |"
        )
        print("|---:|---:|---:|---:|")
        for size in options.sizes:
            median_seconds = statistics.median(storing_seconds[size])
            print(
                f"| {size:,} | {median_seconds:.2f} | **{median_seconds / smallest:.1f}** | "
                f"{statistics.median(listing_seconds[size]):.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
