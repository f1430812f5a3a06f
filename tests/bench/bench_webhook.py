"""Response time of webhook events, with and without a training that uses all cores.

Label Studio sends an event while the annotator waits for the next task. One client sends events one
after the other, as one annotator does; then eight send at once. At the same time nothing runs, or a
training in its own low-priority process, as a server starts it. Prints the time to the answer:
median, 99 % and the longest.

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
from itertools import chain
from pathlib import Path

import numpy as np

from tagalong.backend.documents.jsonl import document_to_json
from tests.bc5cdr_sentences import sentences
from tests.chaos.prelabel_runs import ROOT
from tests.end_to_end.server_process import start_server

TARGET_SECONDS = 0.050  # at 99 %


def event(number: int) -> bytes:
    """An event of a submitted annotation, as large as Label Studio sends it."""
    result = [
        {
            "id": f"r{at}",
            "from_name": "label",
            "to_name": "text",
            "type": "labels",
            "value": {"start": at, "end": at + 5, "text": "words", "labels": ["Disease"]},
        }
        for at in range(20)
    ]
    annotation = {"id": number, "updated_at": "2026-11-22T20:13:55.123456Z", "result": result}
    body = {
        "action": "ANNOTATION_CREATED",
        "annotation": annotation,
        "task": {"id": number, "data": {"text": "word " * 250}},
        "project": {"id": 1, "title": "P", "label_config": "<View/>" * 50},
    }
    return json.dumps(body).encode()


def send(port: int, numbers: range) -> list[float]:
    """Send events one after the other; returns the seconds of each."""
    seconds = []
    for number in numbers:
        body, began = event(number), time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)  # as Label Studio
        connection.request("POST", "/webhook", body, {"Content-Type": "application/json"})
        assert connection.getresponse().status == 201
        connection.close()
        seconds.append(time.perf_counter() - began)
    return seconds


@contextmanager
def training(folder: Path) -> Iterator[None]:
    """A training of the bundled base model without an end."""
    corpus = folder / "corpus.jsonl"
    lines = (json.dumps(document_to_json(document)) for document in sentences(50))
    corpus.write_text("\n".join(lines), encoding="utf-8")
    # With the low priority of `python -m tagalong.training.jobs`.
    command = [
        "nice",
        "-n",
        "10",
        sys.executable,
        "-m",
        "tagalong",
        "train",
        "encoder",
        str(corpus),
        "--epochs",
        "500",
    ]
    command += ["--patience", "500", "--models", str(folder / "other")]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(40)  # until it trains
    assert process.poll() is None
    yield
    process.kill()
    process.wait()


def row(name: str, seconds: list[float]) -> str:
    """A row of the table, in milliseconds."""
    middle, late = np.quantile(seconds, [0.5, 0.99]) * 1000
    longest = max(seconds) * 1000
    return f"| {name} | {len(seconds):,} | {middle:.1f} | **{late:.1f}** | {longest:.1f} |"


def main() -> None:
    """Run; exit with 1 if it is too slow."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=2000)
    options = parser.parse_args()
    print("| meanwhile | events | median ms | 99 % ms | longest ms |\n|---|---:|---:|---:|---:|")
    late = 0.0
    with tempfile.TemporaryDirectory() as name, start_server(Path(name)) as server:
        port = int(server.url.rpartition(":")[2])
        first = 1

        def measured(clients: int) -> list[float]:
            nonlocal first
            each = options.events // clients
            parts = [range(first + at * each, first + (at + 1) * each) for at in range(clients)]
            first += options.events
            with ThreadPoolExecutor(clients) as pool:
                return list(chain.from_iterable(pool.map(lambda part: send(port, part), parts)))

        measured(1)
        print(row("nothing, one annotator", measured(1)), flush=True)
        print(row("nothing, eight annotators", measured(8)), flush=True)
        with training(Path(name)):
            seconds = measured(1)
            print(row("a training, one annotator", seconds), flush=True)
            late = float(np.quantile(seconds, 0.99))
            print(row("a training, eight annotators", measured(8)), flush=True)
    sys.exit(late > TARGET_SECONDS)


if __name__ == "__main__":
    main()
