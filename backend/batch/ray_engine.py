"""Prediction on a Ray cluster: Ray Data streams chunks through actors that each hold a tagger.

Ray Data schedules, applies back pressure, and replaces workers that fail. We add a source that it
does not have: a queue of chunks that the driver reads.
"""

import os
import pickle
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset, Datasource, ReadTask, read_datasource
from ray.data.block import BlockMetadata
from ray.exceptions import RayError
from ray.util.queue import Queue

from tagalong.backend.batch.local_engine import (
    Engine,
    PredictionFailure,
    predict_isolating_failures,
)
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import BatchError

if TYPE_CHECKING:
    from tagalong.backend.models.tagger import DocumentTagger

QUEUED_CHUNKS_PER_WORKER = 2
LOOPBACK_ADDRESS = "127.0.0.1"
CONNECT_TIMEOUT_SECONDS = 10.0
CHUNK_INDEX_COLUMN, CONTENT_COLUMN = "number", "content"  # the content is pickled by us


@contextmanager
def open_ray_engine(
    load: "Callable[[], DocumentTagger]", *, address: str | None = None
) -> Iterator[Engine]:
    """An engine with a worker for each GPU, or for each group of cores without GPUs.

    Each worker loads the tagger, whose files must be on every node. Without the address of a
    running cluster, one is started on this machine, and ended.

    Raises:
        BatchError: If there is no cluster at that address, or it has no room for a worker.
    """
    if address is not None:
        _check_cluster_reachable(address)
    # Ray opens its folders to everybody, and may keep texts there. The names of its sockets may not
    # be long, as below macOS's own folder.
    root = "/tmp" if sys.platform == "darwin" else None  # noqa: S108
    with TemporaryDirectory(prefix="ray-", dir=root, ignore_cleanup_errors=True) as private:
        # Other machines must not reach a cluster that we start.
        own = {"_node_ip_address": LOOPBACK_ADDRESS, "_temp_dir": f"{private}/ray"}
        where = {"address": address} if address else {"address": "local", **own}
        ray.init(**where, log_to_driver=False, include_dashboard=False)
        try:
            size, needs = plan_workers(ray.nodes())
            yield lambda chunks: _predict_chunks(chunks, load, size, needs)
        finally:
            ray.shutdown()


def _check_cluster_reachable(address: str) -> None:
    # Ray itself would wait for ever.
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise BatchError(
            f"there is no Ray cluster at {address} ({error}): give the address that ray start "
            "--head prints, host:port, or leave it out",
            code="ray-cluster-unreachable",
        ) from error


def plan_workers(nodes: Sequence[Mapping[str, Any]]) -> tuple[int, dict[str, float]]:
    """Choose the number of workers on ``ray.nodes()``, and the resources of each."""
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    gpus = sum(int(resources.get("GPU", 0)) for resources in alive)
    if gpus:
        return gpus, {"num_gpus": 1, "num_cpus": 1}
    cores_by_node = [int(resources["CPU"]) for resources in alive if resources.get("CPU", 0) >= 1]
    if not cores_by_node:
        raise BatchError(
            "no node of the Ray cluster has a core for a worker: start nodes with some",
            code="ray-cluster-without-cores",
        )
    each = min(cores_by_node)  # of a worker, so that one fits on the smallest node
    return sum(count // each for count in cores_by_node), {"num_cpus": each}


class _PredictWorker:
    def __init__(self, load: "Callable[[], DocumentTagger]") -> None:
        self._tagger = load()

    def __call__(self, table: pa.Table) -> pa.Table:
        # A row is a chunk.
        chunks = table.column(CONTENT_COLUMN).to_pylist()
        answers = [
            predict_isolating_failures(self._tagger, pickle.loads(chunk))  # noqa: S301
            for chunk in chunks
        ]
        return _make_table(table.column(CHUNK_INDEX_COLUMN).to_pylist(), answers)


class _QueueDatasource(Datasource):  # chunks from a queue, until it has None
    def __init__(self, queue: Queue) -> None:
        super().__init__()
        self._queue = queue

    def estimate_inmemory_data_size(self) -> int | None:
        """Unknown."""
        return None

    def get_read_tasks(self, *_: object, **__: object) -> list[ReadTask]:
        """A single read task, because a queue has one end."""
        queue = self._queue

        def read() -> Iterator[pa.Table]:
            number = 0
            while (chunk := queue.get()) is not None:
                yield _make_table([number], [chunk])
                number += 1

        return [ReadTask(read, BlockMetadata(None, None, None, None))]

    @property
    def supports_distributed_reads(self) -> bool:
        """The task must run where the queue lives."""
        return False


def _predict_chunks(
    chunks: Iterator[list[Document]],
    load: "Callable[[], DocumentTagger]",
    size: int,
    needs: dict[str, float],
) -> Iterator[list[Prediction | PredictionFailure]]:
    queue = Queue(maxsize=QUEUED_CHUNKS_PER_WORKER * size, actor_options={"num_cpus": 0})
    failed: list[BaseException] = []
    fed = 0

    def feed() -> None:
        nonlocal fed
        try:
            for chunk in chunks:
                queue.put(chunk)
                fed += 1
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that takes the results
            failed.append(error)
        finally:
            with suppress(RayError):  # the cluster is gone, and nobody waits for the end
                queue.put(None)

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    expected = 0
    for row in _build_dataset(queue, load, size, needs).iter_rows():
        if row[CHUNK_INDEX_COLUMN] != expected:
            raise BatchError(
                "the Ray cluster lost documents on their way to the workers: run the same command "
                "again to continue",
                code="ray-cluster-lost-documents",
            )
        expected += 1
        yield pickle.loads(row[CONTENT_COLUMN])  # noqa: S301
    feeder.join()
    if failed:
        raise failed[0]
    if expected != fed:
        raise BatchError(
            f"the Ray cluster returned {expected} of {fed} chunks: run the same command again to "
            "continue",
            code="ray-cluster-lost-documents",
        )


def _build_dataset(
    queue: Queue, load: "Callable[[], DocumentTagger]", size: int, needs: dict[str, float]
) -> Dataset:
    context = DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.target_max_block_size = 1  # a chunk is a block: Ray would wait for 128 MiB of them
    return read_datasource(_QueueDatasource(queue), num_cpus=0, override_num_blocks=1).map_batches(
        _PredictWorker,
        batch_size=1,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(
            size=size, max_tasks_in_flight_per_actor=QUEUED_CHUNKS_PER_WORKER
        ),
        fn_constructor_args=(load,),
        runtime_env={"env_vars": {"HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "0")}},
        **needs,
    )


def _make_table(numbers: Sequence[int], contents: Sequence[object]) -> pa.Table:
    return pa.table(
        {
            CHUNK_INDEX_COLUMN: numbers,
            CONTENT_COLUMN: [pickle.dumps(content) for content in contents],
        }
    )
