"""Queues prediction requests at a tier, in order, in small chunks and in shared batches.

Chunks keep one annotator from waiting for the whole batch of another. Requests that wait at the
same time share a batch, because a forward pass over several documents costs less than several.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from math import ceil
from typing import Any, Generic, TypeVar

from tagalong.backend.models.tier import DecodingStats, Tier
from tagalong.backend.server.prediction.errors import service_unavailable
from tagalong.ner.document import Document, Prediction

MAX_BATCH_DOCUMENTS = 16  # of one chunk, and of one batch of several requests
# Clients answered by one batch send their next requests almost together, so wait for them briefly.
MAX_QUEUE_DELAY_SECONDS = 0.003

# Arguments: seconds of each document, and seconds of other requests before them. Raises to refuse.
AdmissionCheck = Callable[[Sequence[float], float], None]
BatchInput = TypeVar("BatchInput")
BatchOutput = TypeVar("BatchOutput")


class RequestScheduler:
    """Runs the versions of one tier for all requests.

    Args:
        name: Of the threads.
        on_decoded: Receives the decoding statistics of some documents, for tiers that have them.
    """

    def __init__(self, name: str, *, on_decoded: Callable[[DecodingStats], None]) -> None:
        self._name, self._on_decoded = name, on_decoded
        self._lock = threading.Lock()
        self._backlog_seconds = 0.0  # estimated, of all requests in work
        self._active_requests = 0
        self._is_closed = False
        self._batchers: dict[int, Batcher[Any, Any]] = {}  # by number of threads

    def close(self) -> None:
        """Refuse new requests; those in work are finished."""
        with self._lock:
            self._is_closed = True
            self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._is_closed and not self._active_requests:
            for batcher in self._batchers.values():
                batcher.close()

    def predict(
        self,
        tier: Tier,
        documents: Sequence[Document],
        *,
        check_admission: AdmissionCheck | None = None,
    ) -> list[Prediction]:
        """Predict documents, after the requests that came before.

        Args:
            tier: A version of the tier; it may differ from call to call.
            documents: Only their texts matter.
            check_admission: Refuses a request that would take too long. Requests are checked one
                at a time, so two of them cannot be promised the same seconds.

        Returns:
            One prediction per document, in the same order.

        Raises:
            RequestError: If the server is stopping; also what the check and the tier raise.
        """
        streams, size = tier.streams, tier.documents_per_request_chunk
        predictions: list[Prediction] = []
        pending: deque[Callable[[], list[Prediction]]] = deque()
        with self._track_request(), self._track_backlog(tier, documents, check_admission):
            batcher = self._batcher_for(streams)
            for start in range(0, len(documents), size):
                pending.append(_submit_chunk(batcher, tier, documents[start : start + size]))
                # One chunk more than threads: no thread idles, and other requests get their turn.
                if len(pending) > streams:
                    predictions += pending.popleft()()
            return predictions + [prediction for finish in pending for prediction in finish()]

    def _batcher_for(self, streams: int) -> "Batcher[Any, Any]":
        """The batcher with this number of threads."""
        with self._lock:
            if streams not in self._batchers:
                self._batchers[streams] = Batcher(
                    self._run_tier,
                    name=self._name,
                    max_documents=MAX_BATCH_DOCUMENTS,
                    threads=streams,
                )
            return self._batchers[streams]

    @contextmanager
    def _track_request(self) -> Iterator[None]:
        """Count a request as active; the threads end after the last one."""
        with self._lock:
            if self._is_closed:
                raise service_unavailable(
                    "the server is stopping: try again when it is back", code="server-stopping"
                )
            self._active_requests += 1
        try:
            yield
        finally:
            with self._lock:
                self._active_requests -= 1
                self._close_if_idle()

    @contextmanager
    def _track_backlog(
        self, tier: Tier, documents: Sequence[Document], check: AdmissionCheck | None
    ) -> Iterator[None]:
        """Count the estimated seconds of a request as backlog until it is answered."""
        seconds = tier.estimate_seconds(documents)
        with self._lock:
            if check is not None:
                check(seconds, self._backlog_seconds)
            self._backlog_seconds += sum(seconds)
        try:
            yield
        finally:
            with self._lock:
                self._backlog_seconds -= sum(seconds)

    def _run_tier(self, tier: Tier, inputs: Sequence[Any]) -> list[Any]:
        """Run one batch, on a thread of the batcher."""
        before = tier.decoding_stats  # a tier that has them has one stream: the change is ours
        try:
            return tier.run(inputs)
        finally:
            if before is not None and tier.decoding_stats is not None:
                self._on_decoded(tier.decoding_stats - before)


def _submit_chunk(
    batcher: "Batcher[Any, Any]", tier: Tier, documents: Sequence[Document]
) -> Callable[[], list[Prediction]]:
    """Queue a chunk; returns a callable that waits for its predictions."""
    # Encode and decode on the thread of the request, beside the forward passes of others.
    encoded = tier.encode(documents)
    outputs = batcher.submit(tier, encoded)
    return lambda: list(map(tier.decode, encoded, outputs.result()))


@dataclass(frozen=True, slots=True)
class WorkItem(Generic[BatchInput, BatchOutput]):
    """Queued documents of one request, and the future of their results."""

    tier: Tier
    documents: Sequence[BatchInput]
    future: Future[list[BatchOutput]] = field(default_factory=Future)


class Batcher(Generic[BatchInput, BatchOutput]):
    """Runs queued work in batches, on its own threads.

    A lone request runs at once, except right after a shared batch, when it waits
    `MAX_QUEUE_DELAY_SECONDS` for the others.

    Args:
        run: Runs a tier on some documents; returns one result per document, in the same order.
        name: Of the threads.
        max_documents: Of one batch, so that batches stay short. A larger request runs alone.
        threads: Batches run at the same time. Each takes an equal share of the queue, so that no
            thread idles while another has several requests.
    """

    def __init__(
        self,
        run: Callable[[Tier, Sequence[BatchInput]], list[BatchOutput]],
        *,
        name: str,
        max_documents: int,
        threads: int = 1,
    ) -> None:
        self._run_tier, self._max_documents = run, max_documents
        self._queue: deque[WorkItem[BatchInput, BatchOutput]] = deque()
        self._condition = threading.Condition()
        self._is_closed = False
        self._threads = [
            threading.Thread(target=self._run_loop, name=name, daemon=True) for _ in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, tier: Tier, documents: Sequence[BatchInput]) -> Future[list[BatchOutput]]:
        """Queue documents.

        Returns:
            The future of one result per document, in the same order, or of the tier's error.

        Raises:
            RuntimeError: If the batcher is closed.
        """
        item: WorkItem[BatchInput, BatchOutput] = WorkItem(tier, documents)
        with self._condition:
            if self._is_closed:
                raise RuntimeError("the server is stopping: nothing is predicted any more")
            self._queue.append(item)
            self._condition.notify()
        return item.future

    def close(self) -> None:
        """Refuse new work; queued work is finished."""
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()

    def _run_loop(self) -> None:
        last_batch_size = 1
        while batch := self._next_batch(last_batch_size):
            last_batch_size = len(batch)
            self._run_batch(batch)
            del batch  # so that a replaced version can be freed while this thread waits

    def _next_batch(self, last_batch_size: int) -> list[WorkItem[BatchInput, BatchOutput]]:
        """Wait for work; returns an empty list after the batcher is closed."""
        with self._condition:
            while True:
                self._condition.wait_for(lambda: self._queue or self._is_closed)
                deadline = time.monotonic() + MAX_QUEUE_DELAY_SECONDS
                while (
                    len(self._queue) < last_batch_size and (left := deadline - time.monotonic()) > 0
                ):
                    self._condition.wait(left)
                batch = self._take_batch()
                if batch or self._is_closed:  # otherwise another thread took the work
                    return batch

    def _take_batch(self) -> list[WorkItem[BatchInput, BatchOutput]]:
        """Take items from the front of the queue that one tier can run together."""
        batch: list[WorkItem[BatchInput, BatchOutput]] = []
        count = 0
        queued = sum(len(item.documents) for item in self._queue)
        max_count = min(self._max_documents, ceil(queued / len(self._threads)))
        while self._queue:
            item = self._queue[0]
            count += len(item.documents)
            if batch and (item.tier is not batch[0].tier or count > max_count):
                break
            batch.append(self._queue.popleft())
        return batch

    def _run_batch(self, batch: Sequence[WorkItem[BatchInput, BatchOutput]]) -> None:
        """Run items together; if that fails, run each alone, so that only the faulty one fails."""
        documents = [*chain.from_iterable(item.documents for item in batch)]
        try:
            results = iter(self._run_tier(batch[0].tier, documents))
            per_item = [list(islice(results, len(item.documents))) for item in batch]
        except BaseException as error:  # noqa: BLE001 - raised again in the request's thread
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            for item in batch:
                self._run_batch([item])
            return
        for item, result in zip(batch, per_item, strict=True):
            item.future.set_result(result)
