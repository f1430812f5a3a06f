"""Requests that wait at the same time are predicted together, on the one thread of a tier.

While a forward pass runs, whoever comes has to wait anyway, and then all go at once. One who is
alone waits for nobody, but for `LINGER` the first time after a batch of several.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import chain, islice

from backend.tier import Tier
from ner.document import Document, Prediction

LINGER = 0.003  # seconds: those who were answered together come again almost together


@dataclass(frozen=True, slots=True)
class Turn:
    """Some documents that wait.

    Attributes:
        tier: That is to predict.
        documents: Of one request.
        answer: Gets their predictions.
    """

    tier: Tier
    documents: Sequence[Document]
    answer: Future[list[Prediction]] = field(default_factory=Future)


class Batcher:
    """Predicts on a thread of its own, what waits together together.

    Args:
        predict: Has a tier predict.
        name: Of the thread.
        most: Documents that are predicted together, so that turns stay short; what asks for more
            by itself goes alone.
    """

    def __init__(
        self,
        predict: Callable[[Tier, Sequence[Document]], list[Prediction]],
        *,
        name: str,
        most: int,
    ) -> None:
        self._predict, self._most = predict, most
        self._waiting: deque[Turn] = deque()
        self._changed = threading.Condition()
        self._together = 1  # turns of the last batch
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def submit(self, tier: Tier, documents: Sequence[Document]) -> Future[list[Prediction]]:
        """Put documents in the queue.

        Args:
            tier: That is to predict.
            documents: Only their texts count.

        Returns:
            Where their predictions will be, one per document and in the same order, or what the
            tier raised.

        Raises:
            RuntimeError: If it is closed.
        """
        turn = Turn(tier, documents)
        with self._changed:
            if self._is_closed:
                raise RuntimeError("nothing is predicted any more: the server is being stopped")
            if self._thread.ident is None:
                self._thread.start()
            self._waiting.append(turn)
            self._changed.notify()
        return turn.answer

    def close(self) -> None:
        """Take nothing more; what waits is predicted."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def _run(self) -> None:
        """Predict until it is closed and nothing waits."""
        while batch := self._next():
            self._together = len(batch)
            self._settle(batch)

    def _next(self) -> list[Turn]:
        """Those whose turn it is; none when all is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            if self._together > 1:
                late = time.monotonic() + LINGER
                while len(self._waiting) < self._together and (left := late - time.monotonic()) > 0:
                    self._changed.wait(left)
            return self._taken()

    def _taken(self) -> list[Turn]:
        """Take from the queue, in order, what one tier can predict together."""
        batch: list[Turn] = []
        count = 0
        while self._waiting:
            turn = self._waiting[0]
            count += len(turn.documents)
            if batch and (turn.tier is not batch[0].tier or count > self._most):
                break
            batch.append(self._waiting.popleft())
        return batch

    def _settle(self, batch: Sequence[Turn]) -> None:
        """Predict, and give each its own."""
        documents = [*chain.from_iterable(turn.documents for turn in batch)]
        try:
            predictions = iter(self._predict(batch[0].tier, documents))
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
