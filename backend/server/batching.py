"""Requests that wait at the same time are predicted together, on the threads of a tier.

While forward passes run, whoever comes has to wait anyway, and then all go at once, or a share of
them where there are several threads. One who is alone waits for nobody, but for `LINGER` the first
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

from backend.tier import Tier

LINGER = 0.003  # seconds: those who were answered together come again almost together


Item = TypeVar("Item")
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Turn(Generic[Item, Found]):
    """Some documents that wait.

    Attributes:
        tier: Whose turn it is.
        documents: Of one request, as the tier takes them.
        answer: Gets what is found in each.
    """

    tier: Tier
    documents: Sequence[Item]
    answer: Future[list[Found]] = field(default_factory=Future)


class Batcher(Generic[Item, Found]):
    """Runs tiers on threads of its own, what waits together together.

    Args:
        run: Runs a tier: something for each document, in the same order.
        name: Of the threads.
        most: Documents that are predicted together, so that turns stay short; what asks for more
            by itself goes alone.
        threads: How many batches are predicted at the same time. Each takes its share of what
            waits, so that none is idle while another has more than one.
    """

    def __init__(
        self,
        run: Callable[[Tier, Sequence[Item]], list[Found]],
        *,
        name: str,
        most: int,
        threads: int = 1,
    ) -> None:
        self._run_tier, self._most = run, most
        self._waiting: deque[Turn[Item, Found]] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._threads = [
            threading.Thread(target=self._run, name=name, daemon=True) for _ in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, tier: Tier, documents: Sequence[Item]) -> Future[list[Found]]:
        """Put documents in the queue.

        Args:
            tier: That is to predict.
            documents: Only their texts count.

        Returns:
            Where what is found in each will be, in the same order, or what the tier raised.

        Raises:
            RuntimeError: If it is closed.
        """
        turn: Turn[Item, Found] = Turn(tier, documents)
        with self._changed:
            if self._is_closed:
                raise RuntimeError("nothing is predicted any more: the server is being stopped")
            self._waiting.append(turn)
            self._changed.notify()
        return turn.answer

    def close(self) -> None:
        """Take nothing more; what waits is predicted."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _run(self) -> None:
        """Predict until it is closed and nothing waits."""
        together = 1  # turns of the last batch
        while batch := self._next(together):
            together = len(batch)
            self._settle(batch)
            del batch  # who waits for the next must not keep a tier that has been replaced

    def _next(self, together: int) -> list[Turn[Item, Found]]:
        """Those whose turn it is; none when all is over."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                late = time.monotonic() + LINGER
                while len(self._waiting) < together and (left := late - time.monotonic()) > 0:
                    self._changed.wait(left)
                batch = self._taken()
                if batch or self._is_closed:  # else another thread took them meanwhile
                    return batch

    def _taken(self) -> list[Turn[Item, Found]]:
        """Take from the queue, in order, what one tier can predict together."""
        batch: list[Turn[Item, Found]] = []
        count = 0
        waiting = sum(len(turn.documents) for turn in self._waiting)
        room = min(self._most, ceil(waiting / len(self._threads)))
        while self._waiting:
            turn = self._waiting[0]
            count += len(turn.documents)
            if batch and (turn.tier is not batch[0].tier or count > room):
                break
            batch.append(self._waiting.popleft())
        return batch

    def _settle(self, batch: Sequence[Turn[Item, Found]]) -> None:
        """Predict, and give each its own."""
        documents = [*chain.from_iterable(turn.documents for turn in batch)]
        try:
            predictions = iter(self._run_tier(batch[0].tier, documents))
            answers = [list(islice(predictions, len(turn.documents))) for turn in batch]
        except BaseException as error:  # noqa: BLE001 - it is for who asked, and the thread goes on
            if len(batch) == 1:
                batch[0].answer.set_exception(error)
                return
            for turn in batch:  # whose fault it is shows when each is alone
                self._settle([turn])
            return
        for turn, answer in zip(batch, answers, strict=True):
            turn.answer.set_result(answer)
