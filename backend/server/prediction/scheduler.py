"""Queues prediction requests for a tagger, in turns of a few windows and in shared batches.

Long documents are split, and a request has a few parts in the queue at a time. So a small request
does not wait for a large one. Projects take turns, so many requests of one do not hold up another.
Requests that wait at the same time share a batch, because a forward
pass over several parts costs less than several.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from math import ceil
from typing import Any

from tagalong.backend.models.tagger import DecodingStats, DocumentTagger
from tagalong.backend.server.prediction.request import check_client, service_unavailable
from tagalong.ner.document import Document, Prediction

MAX_BATCH_PARTS = 16  # of one turn, and of one batch of several requests
# With fewer, a thousand tasks beside sixteen clients take longer than Label Studio waits.
MAX_QUEUED_PARTS = 8  # of one request, unless it needs more to keep all threads at work
# Clients answered by one batch send their next requests almost together, so wait for them briefly.
MAX_QUEUE_DELAY_SECONDS = 0.003
CLIENT_CHECK_SECONDS = 1.0  # between two looks at whether the client of waiting work has gone

# Arguments: seconds of each document, and seconds of other requests before them. Raises to refuse.
AdmissionCheck = Callable[[Sequence[float], float], None]


class RequestScheduler:
    """Runs the versions of all models of one tier, for all requests.

    `on_decoded` receives the decoding statistics of some documents, for taggers that have them.
    """

    def __init__(self, name: str, *, on_decoded: Callable[[DecodingStats], None]) -> None:
        self._name, self._on_decoded = name, on_decoded
        self._lock = threading.Lock()
        self._active_seconds: list[float] = []  # estimated, of each request in work
        self._is_closed = False
        self._batchers: dict[int, Batcher] = {}  # by number of threads

    def close(self) -> None:
        """Refuse new requests; those in work are finished."""
        with self._lock:
            self._is_closed = True
            self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._is_closed and not self._active_seconds:
            for batcher in self._batchers.values():
                batcher.close()

    def predict(
        self,
        tagger: DocumentTagger,
        documents: Sequence[Document],
        *,
        project: str = "",
        check_admission: AdmissionCheck | None = None,
        has_client_gone: Callable[[], bool] = lambda: False,
    ) -> list[Prediction]:
        """Predict documents, in order, beside other requests; projects take turns.

        `check_admission` refuses a request that would take too long. Requests are checked one at a
        time, so two of them cannot be promised the same seconds. Waiting work of a client that has
        gone is dropped. Raises `RequestError` if the client has gone or the server is stopping;
        also what the check and the tagger raise.
        """
        predictions: list[Prediction] = []
        turns: deque[Turn] = deque()
        max_turns = max(tagger.streams + 1, MAX_QUEUED_PARTS // tagger.parts_per_turn)

        def finish_turn() -> None:
            documents, future = turns[0]
            outputs = None
            while outputs is None:
                check_client(has_client_gone)
                try:
                    outputs = future.result(CLIENT_CHECK_SECONDS)
                except TimeoutError as error:
                    if future.done() and future.exception() is error:
                        raise  # of the tagger
            turns.popleft()
            for document, output in zip(documents, outputs, strict=True):
                document.outputs.append(output)
                if len(document.outputs) == document.parts:
                    predictions.append(tagger.decode(document.encoded, document.outputs))

        with self._admit_request(tagger, documents, check_admission):
            batcher = self._batcher_for(tagger.streams)
            # Encode and decode on this thread, beside the forward passes of others.
            parts = iterate_parts(tagger, documents)
            try:
                while turn := [*islice(parts, tagger.parts_per_turn)]:
                    future = batcher.submit(tagger, [part for _, part in turn], project=project)
                    turns.append(([document for document, _ in turn], future))
                    if len(turns) >= max_turns:
                        finish_turn()
                while turns:
                    finish_turn()
            finally:
                for _, future in turns:
                    future.cancel()
        return predictions

    def _batcher_for(self, threads: int) -> "Batcher":
        with self._lock:
            if threads not in self._batchers:
                self._batchers[threads] = Batcher(self._run_tagger, self._name, threads=threads)
            return self._batchers[threads]

    @contextmanager
    def _admit_request(
        self, tagger: DocumentTagger, documents: Sequence[Document], check: AdmissionCheck | None
    ) -> Iterator[None]:
        """Count a request and its estimated seconds; after the last one, the threads may end."""
        seconds = tagger.estimate_seconds(documents)
        total = sum(seconds)
        with self._lock:
            if self._is_closed:
                message = "the server is stopping: try again when it is back"
                raise service_unavailable(message, code="server-stopping")
            if check is not None:
                # Requests take turns, so none waits for more of another than its own work.
                check(seconds, sum(min(total, other) for other in self._active_seconds))
            self._active_seconds.append(total)
        try:
            yield
        finally:
            with self._lock:
                self._active_seconds.remove(total)
                self._close_if_idle()

    def _run_tagger(self, tagger: DocumentTagger, inputs: Sequence[Any]) -> list[Any]:
        before = tagger.decoding_stats  # a tagger that has them has one stream: the change is ours
        try:
            return tagger.run(inputs)
        finally:
            if before is not None and tagger.decoding_stats is not None:
                self._on_decoded(tagger.decoding_stats - before)


@dataclass(frozen=True, slots=True)
class OpenDocument:
    """An encoded document, and the outputs of its first parts."""

    encoded: Any
    parts: int
    outputs: list[Any] = field(default_factory=list)


Turn = tuple[Sequence[OpenDocument], Future[list[Any]]]  # a document and an output for each part


def iterate_parts(
    tagger: DocumentTagger, documents: Sequence[Document]
) -> Iterator[tuple[OpenDocument, Any]]:
    """Encode documents when they are needed, and split them into parts, in order."""
    size = tagger.parts_per_turn
    for start in range(0, len(documents), size):
        for encoded in tagger.encode(documents[start : start + size]):
            parts = tagger.split(encoded)
            document = OpenDocument(encoded, len(parts))
            yield from ((document, part) for part in parts)


@dataclass(frozen=True, slots=True)
class WorkItem:
    """Encoded parts of one request, and the future of one output for each."""

    tagger: DocumentTagger
    parts: Sequence[Any]
    project: str = ""
    future: Future[list[Any]] = field(default_factory=Future)


class Batcher:
    """Runs queued work in batches, on its own threads.

    A lone request runs at once, except right after a shared batch, when it waits
    `MAX_QUEUE_DELAY_SECONDS` for the others. Each thread takes an equal share of the work that its
    tagger has, so that no thread idles while another has several requests. The project that has
    waited longest chooses the tagger of a batch; other projects fill the batch up.
    """

    def __init__(
        self,
        run: Callable[[DocumentTagger, Sequence[Any]], list[Any]],
        name: str,
        *,
        threads: int = 1,
    ) -> None:
        self._run_tagger = run
        self._queues: OrderedDict[str, deque[WorkItem]] = OrderedDict()  # by project, next first
        self._length = 0  # of all queues
        self._condition = threading.Condition()
        self._is_closed = False
        self._threads = [
            threading.Thread(target=self._run_loop, name=name, daemon=True) for _ in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self, tagger: DocumentTagger, parts: Sequence[Any], *, project: str = ""
    ) -> Future[list[Any]]:
        """Queue parts; the future has one output per part, in order, or an error."""
        item = WorkItem(tagger, parts, project)
        with self._condition:
            self._queues.setdefault(project, deque()).append(item)
            self._length += 1
            self._condition.notify()
        return item.future

    def close(self) -> None:
        """End the threads after queued work is finished; nothing may be submitted any more."""
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()

    def _run_loop(self) -> None:
        last_batch_size = 1
        while batch := self._next_batch(last_batch_size):
            last_batch_size = len(batch)
            self._run_batch(batch)
            del batch  # so that a replaced version can be freed while this thread waits

    def _next_batch(self, last_batch_size: int) -> list[WorkItem]:
        """Wait for work; returns an empty list after the batcher is closed."""
        with self._condition:
            while True:
                self._condition.wait_for(lambda: self._length or self._is_closed)
                self._condition.wait_for(
                    lambda: self._is_closed or self._length >= last_batch_size,
                    MAX_QUEUE_DELAY_SECONDS,
                )
                batch = self._take_batch()
                if batch or self._is_closed:  # otherwise another thread took the work
                    return batch

    def _take_batch(self) -> list[WorkItem]:
        """Take items that one tagger can run together; the next project comes first."""
        batch: list[WorkItem] = []
        if not self._queues:
            return batch
        first, queue = next(iter(self._queues.items()))
        tagger, count = queue[0].tagger, 0
        items = chain.from_iterable(self._queues.values())
        queued = sum(len(item.parts) for item in items if item.tagger is tagger)
        max_count = min(MAX_BATCH_PARTS, ceil(queued / len(self._threads)))
        for project, queue in [*self._queues.items()]:
            while queue and queue[0].tagger is tagger:
                count += len(queue[0].parts)
                if batch and count > max_count:  # a larger request runs alone
                    break
                item = queue.popleft()
                self._length -= 1
                if item.future.set_running_or_notify_cancel():
                    batch.append(item)
            if not queue:
                del self._queues[project]
            if count >= max_count:
                break
        if first in self._queues:
            self._queues.move_to_end(first)
        return batch

    def _run_batch(self, batch: Sequence[WorkItem]) -> None:
        """Run items together; if that fails, run each alone, so that only the faulty one fails."""
        parts = [*chain.from_iterable(item.parts for item in batch)]
        try:
            results = iter(self._run_tagger(batch[0].tagger, parts))
            per_item = [list(islice(results, len(item.parts))) for item in batch]
        except BaseException as error:  # noqa: BLE001 - raised again in the request's thread
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            for item in batch:
                self._run_batch([item])
            return
        for item, result in zip(batch, per_item, strict=True):
            item.future.set_result(result)
