"""Small requests beside large ones: their times, those of /health, and the memory afterwards.

    PYTHONPATH=. python tests/bench/bench_fairness.py [--data DIR] [--seconds 60] [--threads N]

Sixteen clients send one abstract after the other, first alone, then beside a client with a text of
400,000 characters and a client with 1,000 abstracts, both again and again. The clients of a phase
are separate processes, and all phases have one server.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.bench_server import milliseconds, percentile
from tests.bench.corpora import DATA
from tests.bench.server_load import read_resident_kib
from tests.bench.server_processes import (
    BENCH_FOLDER,
    Server,
    environment,
    generate_load,
    start_server,
)

CLIENTS = 16
CALM_SECONDS = 60  # between the end of the load and the last reading of the memory
LARGE_REQUESTS = {"one text of 400,000 characters": "text", "1,000 abstracts": "tasks"}


@contextmanager
def large_requests(server: Server, data: Path) -> Iterator[dict[str, Any]]:
    """Send large requests meanwhile; the yielded dictionary gets their times afterwards."""
    processes = {
        name: subprocess.Popen(
            [
                *(sys.executable, str(BENCH_FOLDER / "server_load.py"), "--data", str(data)),
                *("--port", str(server.port), "--large", kind),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(1),
            text=True,
        )
        for name, kind in LARGE_REQUESTS.items()
    }
    answers: dict[str, Any] = {}
    yield answers
    for process in processes.values():
        assert process.stdin is not None
        process.stdin.close()  # after the request in work, send no more
    for name, process in processes.items():
        assert process.stdout is not None
        answers[name] = json.loads(process.stdout.read())
        process.wait()


def run(data: Path, *, seconds: float, threads: int) -> Iterator[str]:
    """Run both phases; yields the tables."""
    options = ("--clients", str(CLIENTS), "--seconds", str(seconds), "--poll")
    with (
        tempfile.TemporaryDirectory() as models,
        start_server(Path(models), threads=threads) as server,
    ):
        generate_load(server, data, *options[:2], "--seconds", "20")  # warm-up: adds the streams
        alone = generate_load(server, data, *options)
        memory_before = read_resident_kib(server.pid)
        with large_requests(server, data) as answers:
            beside = generate_load(server, data, *options)
        time.sleep(CALM_SECONDS)
        memory_after = read_resident_kib(server.pid)
    yield "| requests | answers | errors | p50 | p95 | p99 | slowest |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    rows = {
        "small, alone": alone["predict"],
        "small, beside large ones": beside["predict"],
        "/health, alone": alone["health"],
        "/health, beside large ones": beside["health"],
        **answers,
    }
    for name, stats in rows.items():
        times = stats["seconds"]
        cells = [milliseconds(percentile(times, percent)) for percent in (50, 95, 99)]
        failed = f"{sum(stats['errors'].values())} {stats['errors'] or ''}".rstrip()
        cells.append(milliseconds(max(times)))
        yield f"| {name} | {len(times)} | {failed} | {' | '.join(cells)} |"
    ratio = percentile(beside["predict"]["seconds"], 95) / percentile(
        alone["predict"]["seconds"], 95
    )
    yield ""
    yield f"p95 of small requests beside large ones / alone: **{ratio:.2f}**."
    yield (
        f"Memory {CALM_SECONDS} s after the load / before the large requests: "
        f"**{memory_after / memory_before:.2f}** ({memory_before / 1024:.0f} MiB before)."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    for line in run(options.data, seconds=options.seconds, threads=options.threads):
        print(line, flush=True)


if __name__ == "__main__":
    main()
