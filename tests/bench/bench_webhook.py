"""Response time of webhook events, with and without a training that uses all cores.

Label Studio sends an event while the annotator waits for the next task. One client sends events one
after the other, as one annotator does; then eight send at once. In the background nothing runs, or
a training in its own low-priority process, as a server starts it. Prints the response time: median,
99 % and the longest.

    PYTHONPATH=. python tests/bench/bench_webhook.py [--events 2000]
"""

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from tagalong.backend.documents.jsonl import document_to_json
from tests.bc5cdr_sentences import sentences
from tests.chaos.prelabel_runs import ROOT
from tests.end_to_end.server_process import start_server

TARGET_SECONDS = 0.050  # at 99 %


def make_event(number: int) -> bytes:
    """Make an event of a submitted annotation, as large as Label Studio's."""
    result = [
        {
            "id": f"r{index}",
            "from_name": "label",
            "to_name": "text",
            "type": "labels",
            "value": {"start": index, "end": index + 5, "text": "words", "labels": ["Disease"]},
        }
        for index in range(20)
    ]
    annotation = {"id": number, "updated_at": "2026-11-22T20:13:55.123456Z", "result": result}
    body = {
        "action": "ANNOTATION_CREATED",
        "annotation": annotation,
        "task": {"id": number, "data": {"text": "word " * 250}},
        "project": {"id": 1, "title": "P", "label_config": "<View/>" * 50},
    }
    return json.dumps(body).encode()


def send_events(port: int, numbers: range) -> list[float]:
    """Send events one after the other; returns the seconds of each."""
    seconds = []
    for number in numbers:
        body, start = make_event(number), time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)  # as Label Studio
        connection.request("POST", "/webhook", body, {"Content-Type": "application/json"})
        assert connection.getresponse().status == 201
        connection.close()
        seconds.append(time.perf_counter() - start)
    return seconds


@contextmanager
def run_training(folder: Path) -> Iterator[None]:
    """Train the bundled base model until the end of the context."""
    corpus = folder / "corpus.jsonl"
    lines = (json.dumps(document_to_json(document)) for document in sentences(50))
    corpus.write_text("\n".join(lines), encoding="utf-8")
    # With the low priority of `python -m tagalong.training.jobs`.
    command = ["nice", "-n", "10", sys.executable, "-m", "tagalong", "train", "encoder"]
    command += [str(corpus), "--epochs", "500", "--patience", "500"]
    command += ["--models", str(folder / "other")]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(40)  # until it trains
    assert process.poll() is None
    try:
        yield
    finally:
        process.kill()
        process.wait()


def format_row(name: str, seconds: list[float]) -> str:
    """Format a row of the table, in milliseconds."""
    median_ms, p99_ms = np.quantile(seconds, [0.5, 0.99]) * 1000
    max_ms = max(seconds) * 1000
    return f"| {name} | {len(seconds):,} | {median_ms:.1f} | **{p99_ms:.1f}** | {max_ms:.1f} |"


def main() -> None:
    """Run; exit with 1 if it is too slow."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=2000)
    options = parser.parse_args()
    print(
        "| background work | events | median ms | 99 % ms | longest ms |\n|---|---:|---:|---:|---:|"
    )
    p99_seconds = 0.0
    with tempfile.TemporaryDirectory() as name, start_server(Path(name)) as server:
        port = int(server.url.rpartition(":")[2])
        next_number = 1

        def time_events(clients: int) -> list[float]:
            nonlocal next_number
            per_client = options.events // clients
            numbers = [
                range(next_number + client * per_client, next_number + (client + 1) * per_client)
                for client in range(clients)
            ]
            next_number += options.events
            with ThreadPoolExecutor(clients) as pool:
                seconds = pool.map(partial(send_events, port), numbers)
                return list(chain.from_iterable(seconds))

        time_events(1)
        print(format_row("none, one annotator", time_events(1)), flush=True)
        print(format_row("none, eight annotators", time_events(8)), flush=True)
        with run_training(Path(name)):
            seconds = time_events(1)
            print(format_row("training, one annotator", seconds), flush=True)
            p99_seconds = float(np.quantile(seconds, 0.99))
            print(format_row("training, eight annotators", time_events(8)), flush=True)
    sys.exit(p99_seconds > TARGET_SECONDS)


if __name__ == "__main__":
    main()
