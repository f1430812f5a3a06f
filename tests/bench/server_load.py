"""Clients of the server, all in one process; prints their measurements as JSON.

    PYTHONPATH=. python tests/bench/server_load.py --port 9090 --clients 16 --seconds 60 --poll
    PYTHONPATH=. python tests/bench/server_load.py --port 9090 --soak 10000 --pids 17 18

Every client keeps its connection, as Label Studio's session does, and sends the next request after
each answer. With --poll three more request /health every 100 ms and /setup every second, and send
an event to /webhook every half second. Their times count from the planned moment, so that a slow
answer does not hide the delay of the next ones. With --soak several projects send abstracts alone
and in batches, with webhook events in between, and the resident memory of the processes is read.
With --large one client sends a large request again and again, until its standard input is closed.
"""

import argparse
import http.client
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from tests.bench.corpora import DATA, read_documents
from tests.bench.server_requests import CONFIGS, event_body, predict_body, setup_body

HEALTH_EVERY, SETUP_EVERY, WEBHOOK_EVERY = 0.1, 1.0, 0.5  # seconds
TIMEOUT_SECONDS = 100  # Label Studio's own
SOAK_CLIENTS = 4
SAMPLES = 100  # memory samples of a soak
BATCH, BATCH_EVERY = 8, 10  # tasks of a larger request; every tenth request is one
EVENT_EVERY, PAGE_EVERY = 20, 50
LARGE_TASKS, LARGE_CHARACTERS = 1_000, 400_000


@dataclass(slots=True)
class ClientStats:
    """Measurements of clients of one kind.

    Attributes:
        seconds: Time of every answer.
        errors: Number of each kind of error.

    """

    seconds: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, Any]:
        return {
            "seconds": [round(seconds, 5) for seconds in self.seconds],
            "errors": dict(self.errors),
        }


class Client:
    """One kept connection.

    Args:
        port: Port of the server.
        seen: Measurements, shared with other clients of its kind.

    """

    def __init__(self, port: int, stats: ClientStats) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
        self.stats = stats

    def request(
        self, method: str, path: str, body: bytes | None = None, *, due: float | None = None
    ) -> Any:
        """Send a request and record the time since it was due; None for a failure or no JSON."""
        start = time.perf_counter() if due is None else due
        headers = {"Content-Type": "application/json"} if body else {"Accept": "*/*"}
        try:
            self._connection.request(method, path, body, headers)
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            self.stats.errors[type(error).__name__] += 1
            return None
        self.stats.seconds.append(time.perf_counter() - start)
        if response.status not in (200, 201):
            self.stats.errors[f"{path} {response.status}"] += 1
            return None
        is_json = response.headers.get_content_type() == "application/json"
        return json.loads(content) if is_json else None

    def predict(self, body: bytes, tasks: int) -> None:
        """Request predictions, and check that there is one for every task."""
        answer = self.request("POST", "/predict", body)
        if answer is not None and len(answer["results"]) != tasks:
            self.stats.errors["results missing"] += 1


def run_steady_load(
    port: int, texts: list[str], *, clients: int, seconds: float, poll: bool
) -> Any:
    """Request predictions continuously."""
    predict_stats, health_stats, setup_stats, webhook_stats = (
        ClientStats(),
        ClientStats(),
        ClientStats(),
        ClientStats(),
    )
    numbers = count(1)
    start = time.perf_counter()
    end = start + seconds

    def predict(number: int) -> None:
        client, random = Client(port, predict_stats), Random(number)
        while time.perf_counter() < end:
            client.predict(predict_body([random.choice(texts)], CONFIGS[0]), 1)

    def poll_route(
        stats: ClientStats, interval: float, request: Callable[[Client, float], object]
    ) -> None:
        client = Client(port, stats)
        for turn in count():
            due = start + turn * interval
            if due >= end:
                return
            time.sleep(max(0.0, due - time.perf_counter()))
            request(client, due)

    threads = [threading.Thread(target=predict, args=(number,)) for number in range(clients)]

    def send_event(client: Client, due: float) -> None:
        number = next(numbers)
        body = event_body(texts[number % len(texts)], CONFIGS[0], number)
        client.request("POST", "/webhook", body, due=due)

    if poll:
        body = setup_body(CONFIGS[0])
        routes: tuple[tuple[ClientStats, float, Callable[[Client, float], object]], ...] = (
            (
                health_stats,
                HEALTH_EVERY,
                lambda client, due: client.request("GET", "/health", due=due),
            ),
            (
                setup_stats,
                SETUP_EVERY,
                lambda client, due: client.request("POST", "/setup", body, due=due),
            ),
            (webhook_stats, WEBHOOK_EVERY, send_event),
        )
        threads += [threading.Thread(target=poll_route, args=route) for route in routes]
    run_threads(threads)
    duration = time.perf_counter() - start
    return {
        "seconds": duration,
        "cpu": time.process_time() / duration,
        "predict": predict_stats.as_json(),
        "health": health_stats.as_json(),
        "setup": setup_stats.as_json(),
        "webhook": webhook_stats.as_json(),
    }


def run_large(port: int, texts: list[str], kind: str) -> Any:
    """Send one large request after the other, until the standard input is closed."""
    stats = ClientStats()
    client, stop = Client(port, stats), threading.Event()

    def wait_for_end() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    every = [texts[number % len(texts)] for number in range(LARGE_TASKS)]
    sent = [" ".join(every)[:LARGE_CHARACTERS]] if kind == "text" else every
    body = predict_body(sent, CONFIGS[0])
    while not stop.is_set():
        client.predict(body, len(sent))
    return stats.as_json()


def run_soak(port: int, texts: list[str], *, requests: int, pids: list[int]) -> Any:
    """Request predictions for several projects, and read the memory regularly."""
    stats, numbers, lock = ClientStats(), count(1), threading.Lock()
    interval = max(1, requests // SAMPLES)
    samples: list[dict[str, Any]] = [
        {"requests": 0, "kib": [read_resident_kib(pid) for pid in pids]}
    ]

    def run_client() -> None:
        client = Client(port, stats)
        while True:
            with lock:
                number = next(numbers)
            if number > requests:
                return
            send_request(client, texts, number)
            if number % interval == 0:
                samples.append(
                    {"requests": number, "kib": [read_resident_kib(pid) for pid in pids]}
                )

    run_threads([threading.Thread(target=run_client) for _ in range(SOAK_CLIENTS)])
    samples.sort(key=lambda sample: sample["requests"])
    return {"samples": samples, "predict": stats.as_json()}


def send_request(client: Client, texts: list[str], number: int) -> None:
    """Send the request of this number, and its event."""
    random, config = Random(number), CONFIGS[number % len(CONFIGS)]
    tasks = BATCH if number % BATCH_EVERY == 0 else 1
    client.predict(predict_body(random.sample(texts, tasks), config, first=number), tasks)
    if number % EVENT_EVERY == 0:
        client.request("POST", "/webhook", event_body(random.choice(texts), config, number))
        client.request("POST", "/setup", setup_body(config))
    if number % PAGE_EVERY == 0:
        client.request("GET", "/metrics")
        client.request("GET", "/health")


def read_resident_kib(pid: int) -> int:
    """Read the resident memory of a process, in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def run_threads(threads: list[threading.Thread]) -> None:
    """Run threads until they end."""
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--poll", action="store_true")
    parser.add_argument("--first", type=int, help="use only the first texts of test")
    parser.add_argument("--soak", type=int, metavar="REQUESTS")
    parser.add_argument("--large", choices=("text", "tasks"))
    parser.add_argument("--pids", type=int, nargs="*", default=[])
    options = parser.parse_args()
    texts = [
        document.text
        for part in (("test",) if options.first else ("train", "dev", "test"))
        for document in read_documents(options.data / "BC5CDR" / f"{part}.jsonl")
    ][: options.first]
    measurements: Mapping[str, Any]
    if options.large:
        measurements = run_large(options.port, texts, options.large)
    elif options.soak:
        measurements = run_soak(options.port, texts, requests=options.soak, pids=options.pids)
    else:
        measurements = run_steady_load(
            options.port,
            texts,
            clients=options.clients,
            seconds=options.seconds,
            poll=options.poll,
        )
    print(json.dumps(measurements))


if __name__ == "__main__":
    main()
