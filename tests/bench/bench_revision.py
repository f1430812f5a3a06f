"""Requests per second of the server, compared with the server of another checkout.

    PYTHONPATH=. python tests/bench/bench_revision.py --against DIR [--data DIR]
        [--starts 12] [--rounds 2] [--seconds 6]

DIR has a `.venv` of its own. Sixteen clients send abstracts to one server after the other, while
both run. One process of the same code differs from another by some 6 %, so each is started often.
"""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from math import sqrt
from pathlib import Path
from statistics import mean, median, stdev

from tests.bench.bench_server import spread
from tests.bench.corpora import DATA
from tests.bench.server_processes import ROOT, Server, generate_load, start_server

CLIENTS = 16
WARM_UP_SECONDS = 4.0
THREADS = 2


def compare_rates(
    folder: Path, data: Path, *, starts: int, rounds: int, seconds: float
) -> Iterator[str]:
    """Yield a table of requests per second of both servers, and the ratio of each start."""
    ratios: list[float] = []
    rates: dict[Path, list[float]] = {ROOT: [], folder: []}
    for start in range(starts):
        order = (ROOT, folder) if start % 2 else (folder, ROOT)
        with ExitStack() as stack:
            servers = {}
            for root in order:
                models = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                server = start_server(models, threads=THREADS, root=root)
                servers[root] = stack.enter_context(server)
            for root in order:
                measure_rate(servers[root], data, seconds=WARM_UP_SECONDS)
            of_start: dict[Path, list[float]] = {ROOT: [], folder: []}
            for number in range(rounds):
                for root in order if number % 2 else reversed(order):
                    of_start[root].append(measure_rate(servers[root], data, seconds=seconds))
        ratios.append(sum(of_start[ROOT]) / sum(of_start[folder]))
        for root, values in of_start.items():
            rates[root] += values
    error = stdev(ratios) / sqrt(starts) if starts > 1 else float("nan")
    yield "| starts | here, a second | there, a second | here / there (quartiles) | mean, error |"
    yield "|---:|---:|---:|---:|---:|"
    yield (
        f"| {starts} | {median(rates[ROOT]):.1f} | {median(rates[folder]):.1f} "
        f"| {spread(ratios)} | {mean(ratios):.3f}, {error:.3f} |"
    )


def measure_rate(server: Server, data: Path, *, seconds: float) -> float:
    """Requests per second of sixteen clients; ends the program after any error."""
    options = ("--clients", str(CLIENTS), "--seconds", str(seconds))
    measurements = generate_load(server, data, *options)
    if errors := measurements["predict"]["errors"]:
        raise SystemExit(f"requests failed: {errors}")
    rate: float = len(measurements["predict"]["seconds"]) / measurements["seconds"]
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, required=True, help="the other checkout")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--starts", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=6)
    options = parser.parse_args()
    for line in compare_rates(
        options.against.resolve(),
        options.data,
        starts=options.starts,
        rounds=options.rounds,
        seconds=options.seconds,
    ):
        print(line)


if __name__ == "__main__":
    main()
