"""On Ray a batch is what it is here: the same answers in the same order, whoever dies."""

import os
import signal
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from backend.batch.journal import BatchJournal
from backend.batch.on_ray import plan_workers, ray_engine
from backend.batch.predicting import Trouble, local_engine
from backend.batch.run import CHUNK, Batch, numbered
from ner.document import Document, Prediction
from ner.errors import BatchError
from tests.lexicon_tier import LexiconTier
from tests.plain_target import Plain

WORDS = ("naloxone", "clonidine", "asthma", "and", "hypertension")
DOCUMENTS = [
    Document(f"d{number}", " ".join(WORDS[(number + k) % 5] for k in range(1 + number % 9)))
    for number in range(9 * CHUNK + 5)
]


class Dying(LexiconTier):
    """Dies with its process at one document, once; cannot read another."""

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


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[str]:
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    # Ray takes 127.0.0.1 for the address by which others reach this machine; these it leaves alone.
    head, other = ({"num_cpus": 1, "node_ip_address": f"127.0.0.{n}"} for n in (2, 3))
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(**other)
    yield cluster.address
    cluster.shutdown()


def chunks() -> Iterator[list[Document]]:
    return (DOCUMENTS[at : at + CHUNK] for at in range(0, len(DOCUMENTS), CHUNK))


def test_two_nodes_answer_as_one_machine_does_and_in_its_order(two_nodes: str) -> None:
    with ray_engine(partial(LexiconTier, "lexicon-1"), address=two_nodes) as engine:
        found = list(engine(chunks()))
    assert found == list(local_engine(LexiconTier("lexicon-1"))(chunks()))


def test_a_worker_that_dies_is_replaced(two_nodes: str, tmp_path: Path) -> None:
    marker = tmp_path / "died"
    with ray_engine(partial(Dying, marker), address=two_nodes) as engine:
        found = list(engine(chunks()))
    expected = list(local_engine(Dying(marker))(chunks()))
    assert marker.exists()
    assert found == expected
    assert [entry for chunk in found for entry in chunk if isinstance(entry, Trouble)] == [
        Trouble("the model failed on it 3 times (ValueError: no)")
    ]


def nodes(*resources: dict[str, float]) -> list[dict]:
    return [{"Alive": True, "Resources": one} for one in resources]


def test_a_worker_takes_a_gpu_or_the_cores_of_the_smallest_node() -> None:
    assert plan_workers(nodes({"CPU": 8, "GPU": 2}, {"CPU": 4, "GPU": 1}), None) == (
        3,
        {"num_gpus": 1, "num_cpus": 1},
    )
    assert plan_workers(nodes({"CPU": 8}, {"CPU": 4}, {}), None) == (3, {"num_cpus": 4})
    assert plan_workers(nodes({"CPU": 8}, {"CPU": 4}), 2) == (6, {"num_cpus": 2})
    with pytest.raises(BatchError, match="no node of the Ray cluster has 9 cores"):
        plan_workers(nodes({"CPU": 8}), 9)


def test_no_cluster_there() -> None:
    with (
        pytest.raises(BatchError, match=r"there is no Ray cluster at 127\.0\.0\.1:1"),
        ray_engine(partial(LexiconTier, "lexicon-1"), address="127.0.0.1:1"),
    ):
        pass


def test_what_the_source_says_is_raised_here(two_nodes: str) -> None:
    def broken() -> Iterator[list[Document]]:
        yield DOCUMENTS[:3]
        raise BatchError("the source is gone")

    with ray_engine(partial(LexiconTier, "lexicon-1"), address=two_nodes) as engine:
        answers = engine(broken())
        assert len(next(answers)) == 3
        with pytest.raises(BatchError, match="the source is gone"):
            list(answers)


def test_a_batch_on_ray_ends_as_one_here_does(two_nodes: str, tmp_path: Path) -> None:
    kept = []
    for name in ("ray", "local"):
        with BatchJournal(tmp_path / name) as journal:
            batch = Batch(journal, Plain())
            if name == "local":
                batch.read(numbered(DOCUMENTS), local_engine(LexiconTier("lexicon-1")))
            else:
                with ray_engine(partial(LexiconTier, "lexicon-1"), address=two_nodes) as engine:
                    batch.read(numbered(DOCUMENTS), engine)
            kept.append([(entry.key, entry.answer) for entry in journal.in_order()])
    assert kept[0] == kept[1]
    assert len(kept[0]) == len(DOCUMENTS)
