"""Functions that the Ray tests run in child processes, because Ray may end its process.

Run as a program, it is a cluster of two nodes with one core each. It prints its address and ends
at the end of its input.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from tagalong.backend.batch.journal import BatchJournal
from tagalong.backend.batch.local_engine import Engine, PredictionFailure
from tagalong.backend.batch.passes import CHUNK_DOCUMENTS, BatchPasses
from tagalong.backend.batch.ray_engine import open_ray_engine
from tagalong.backend.models.tagger import DocumentTagger
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import BatchError
from tests.journal_sink import JournalSink, make_items
from tests.lexicon_tagger import LexiconTagger

WORDS = ("naloxone", "clonidine", "asthma", "and", "hypertension")
DOCUMENTS = [
    Document(f"d{number}", " ".join(WORDS[(number + k) % 5] for k in range(1 + number % 9)))
    for number in range(9 * CHUNK_DOCUMENTS + 5)
]

Answers = list[list[Prediction | PredictionFailure]]

lexicon = partial(LexiconTagger, "lexicon-1")


class CrashingTagger(LexiconTagger):
    """Kills its process at one document, once, and fails on another."""

    def __init__(self, marker: Path) -> None:
        super().__init__("lexicon-1")
        self._marker = marker

    def predict(self, documents: Sequence[Document]) -> list[Prediction]:
        names = {document.id for document in documents}
        if "d300" in names and not self._marker.exists():
            self._marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if "d77" in names:
            raise ValueError("no")
        return super().predict(documents)


class TwoNodeTagger(LexiconTagger):
    """Waits until two nodes predict. Its version has the id of its node."""

    def __init__(self, path: Path) -> None:
        self._node, self._path = ray.get_runtime_context().get_node_id(), path
        super().__init__(f"lexicon on {self._node}")

    def predict(self, documents: Sequence[Document]) -> list[Prediction]:
        (self._path / self._node).touch()
        until = time.monotonic() + 60
        while len(list(self._path.iterdir())) < 2 and time.monotonic() < until:
            time.sleep(0.1)
        return super().predict(documents)


def chunks() -> Iterator[list[Document]]:
    return (
        DOCUMENTS[at : at + CHUNK_DOCUMENTS] for at in range(0, len(DOCUMENTS), CHUNK_DOCUMENTS)
    )


def predict_on_ray(address: str, load: Callable[[], DocumentTagger]) -> Answers:
    with open_ray_engine(load, address=address) as engine:
        return list(engine(chunks()))


@dataclass(frozen=True)
class RayResults:
    """Results of one engine, because each has processes of its own, which take seconds to start.

    Attributes:
        answers: Predictions of all chunks.
        entries: Keys and payloads of the journal of a batch.
        failed: Number of predictions before a source failed, and the error.
    """

    answers: Answers
    entries: list[tuple[str, str]]
    failed: tuple[int, str]


def use_one_engine(address: str, path: Path) -> RayResults:
    with BatchJournal(path) as journal, open_ray_engine(lexicon, address=address) as engine:
        answers = list(engine(chunks()))
        BatchPasses(journal, JournalSink()).predict(make_items(DOCUMENTS), engine)
        entries = [(entry.key, entry.payload) for entry in journal.iterate_entries()]
        return RayResults(answers, entries, predict_until_source_fails(engine))


def predict_until_source_fails(engine: Engine) -> tuple[int, str]:
    def broken() -> Iterator[list[Document]]:
        yield DOCUMENTS[:3]
        raise BatchError("the source is gone")

    came = 0
    try:
        for answers in engine(broken()):
            came += len(answers)
    except BatchError as error:
        return came, str(error)
    return came, ""


def main() -> None:
    # Ray replaces 127.0.0.1 by the address of this machine, but not these.
    head, other = ({"num_cpus": 1, "node_ip_address": f"127.0.0.{number}"} for number in (2, 3))
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(**other)
    print(cluster.address, flush=True)
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main()
