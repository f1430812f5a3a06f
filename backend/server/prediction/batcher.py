"""Requests that wait at the same time are predicted together, on the threads of a tier.

While forward passes run, whoever comes has to wait anyway, and then all go at once, or a share of
them where there are several threads. One who is alone waits for nobody, but for `MAX_QUEUE_DELAY_SECONDS` the first
time after a batch of several.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import chain, islice
from math import ceil
from typing import Generic, TypeVar

from tagalong.backend.models.tier import Tier

MAX_QUEUE_DELAY_SECONDS = (
    0.003  # seconds: those who were answered together come again almost together
)


BatchInput = TypeVar("BatchInput")
BatchOutput = TypeVar("BatchOutput")


@dataclass(frozen=True, slots=True)
class WorkItem(Generic[BatchInput, BatchOutput]):
    """Some documents that wait.

    Attributes:
        tier: Whose turn it is.
        documents: Of one request, as the tier takes them.
        future: Gets what is found in each.
    """

    tier: Tier
    documents: Sequence[BatchInput]
    future: Future[list[BatchOutput]] = field(default_factory=Future)


class Batcher(Generic[BatchInput, BatchOutput]):
    """Runs tiers on threads of its own, what waits together together.

    Args:
        run: Runs a tier: something for each document, in the same order.
        name: Of the threads.
        max_documents: Documents that are predicted together, so that turns stay short; what asks for more
            by itself goes alone.
        threads: How many batches are predicted at the same time. Each takes its share of what
            waits, so that none is idle while another has more than one.
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
        """Put documents in the queue.

        Args:
            tier: That is to predict.
            documents: Only their texts count.

        Returns:
            Where what is found in each will be, in the same order, or what the tier raised.

        Raises:
            RuntimeError: If it is closed.
        """
        turn: WorkItem[BatchInput, BatchOutput] = WorkItem(tier, documents)
        with self._condition:
            if self._is_closed:
                raise RuntimeError("nothing is predicted any more: the server is being stopped")
            self._queue.append(turn)
            self._condition.notify()
        return turn.future

    def close(self) -> None:
        """Take nothing more; what waits is predicted."""
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()

    def _run_loop(self) -> None:
        """Predict until it is closed and nothing waits."""
        together = 1  # turns of the last batch
        while batch := self._next_batch(together):
            together = len(batch)
            self._run_batch(batch)
            del batch  # who waits for the next must not keep a tier that has been replaced

    def _next_batch(self, last_batch_size: int) -> list[WorkItem[BatchInput, BatchOutput]]:
        """Those whose turn it is; none when all is over."""
        with self._condition:
            while True:
                self._condition.wait_for(lambda: self._queue or self._is_closed)
                late = time.monotonic() + MAX_QUEUE_DELAY_SECONDS
                while len(self._queue) < last_batch_size and (left := late - time.monotonic()) > 0:
                    self._condition.wait(left)
                batch = self._take_batch()
                if batch or self._is_closed:  # else another thread took them meanwhile
                    return batch

    def _take_batch(self) -> list[WorkItem[BatchInput, BatchOutput]]:
        """Take from the queue, in order, what one tier can predict together."""
        batch: list[WorkItem[BatchInput, BatchOutput]] = []
        count = 0
        waiting = sum(len(turn.documents) for turn in self._queue)
        room = min(self._max_documents, ceil(waiting / len(self._threads)))
        while self._queue:
            turn = self._queue[0]
            count += len(turn.documents)
            if batch and (turn.tier is not batch[0].tier or count > room):
                break
            batch.append(self._queue.popleft())
        return batch

    def _run_batch(self, batch: Sequence[WorkItem[BatchInput, BatchOutput]]) -> None:
        """Predict, and give each its own."""
        documents = [*chain.from_iterable(turn.documents for turn in batch)]
        try:
            predictions = iter(self._run_tier(batch[0].tier, documents))
            answers = [list(islice(predictions, len(turn.documents))) for turn in batch]
        except BaseException as error:  # noqa: BLE001 - it is for who asked, and the thread goes on
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            for turn in batch:  # whose fault it is shows when each is alone
                self._run_batch([turn])
            return
        for turn, answer in zip(batch, answers, strict=True):
            turn.future.set_result(answer)
