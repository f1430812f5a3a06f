"""A server that is killed at random moments, and the history of what it has answered."""

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tagalong.backend.demo.supervised_process import find_free_port
from tests.backend.server.app_client import ABSTRACT, regions, request_for
from tests.backend.server.lexicon_server import LexiconServer, stored_annotations

EXPECTED = [("Naloxone", "Chemical"), ("clonidine", "Chemical")]
ACTIONS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_CREATED")


@dataclass
class History:
    """What a client has seen of a server.

    Attributes:
        acknowledged: Numbers of the events with an answer, in order.
        repeated: Number of events that were sent again, because their answer was lost.
        known: Number of those that the server had stored before.
        predicted: Number of correct predictions.
        wrong: Other answers.
        stored: Numbers of the stored events, in order.
    """

    acknowledged: list[int]
    repeated: int
    known: int
    predicted: int
    wrong: list[object]
    stored: Sequence[int] = ()

    def find_faults(self) -> list[str]:
        """The laws that the history breaks."""
        faults = [f"a wrong answer: {answer}" for answer in self.wrong]
        if self.stored != self.acknowledged:
            faults.append(f"{self.acknowledged} were acknowledged, but stored is {self.stored}")
        return faults


def make_event(number: int) -> dict[str, object]:
    """The event of a number, as Label Studio sends it: every delivery is the same."""
    annotation = {"id": number, "updated_at": f"2026-11-22T20:13:{number % 60:02}Z"}
    return {"action": ACTIONS[number % 3], "project": 1, "annotation": annotation}


class Client:
    """Sends events, each until it is acknowledged, and asks for predictions meanwhile."""

    def __init__(self, server: LexiconServer) -> None:
        self.server = server  # replaced after a kill
        self.history = History([], 0, 0, 0, [])
        self.has_ended = threading.Event()
        self.threads = [threading.Thread(target=one) for one in (self.send_events, self.predict)]

    def send_events(self) -> None:
        number, is_repeated = 1, False
        while not self.has_ended.is_set() or is_repeated:
            try:
                status, answer = self.server.send("POST", "/webhook", make_event(number))
            except OSError:
                self.history.repeated += not is_repeated
                is_repeated = True
                time.sleep(0.01)
                continue
            if status not in (200, 201) or (status == 200 and not is_repeated):
                self.history.wrong.append((number, status, answer))
            self.history.known += status == 200
            self.history.acknowledged.append(number)
            number, is_repeated = number + 1, False

    def predict(self) -> None:
        while not self.has_ended.is_set():
            try:
                status, answer = self.server.send("POST", "/predict", request_for(ABSTRACT))
            except OSError:
                time.sleep(0.01)
                continue
            if status == 200 and regions(answer) == [EXPECTED]:
                self.history.predicted += 1
            elif status != 503:  # no version is loaded yet
                self.history.wrong.append((status, answer))


def run_with_kills(folder: Path, *, kills: int, seconds: float, chance: random.Random) -> History:
    """Kill and restart a server, each time within the seconds after it is ready."""
    port = find_free_port()
    client = Client(LexiconServer(folder, port))
    try:
        client.server.wait_for(client.server.is_ready)
        for thread in client.threads:
            thread.start()
        for _ in range(kills):
            time.sleep(chance.uniform(0, seconds))
            client.server.kill()
            client.server = LexiconServer(folder, port)
            client.server.wait_for(client.server.is_ready)
        time.sleep(seconds / 2)
    finally:
        client.has_ended.set()
        for thread in client.threads:
            if thread.is_alive():
                thread.join()
        client.server.kill()
    client.history.stored = stored_annotations(folder / "models")
    return client.history
