"""Requests take turns at a tier, in order and in small portions.

So an annotator who opens a task does not wait for somebody's whole batch. The forward passes of a
tier run on threads of their own: one, but for an engine that has lanes. Portions that wait at the
same time go together, in equal shares for those threads.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from backend.encoder import EncoderTier
from backend.llm.cost import Cost
from backend.server.batching import Batcher
from backend.server.errors import unavailable
from backend.tier import Costly, Estimating, Tier
from ner.document import Document, Prediction

PORTION = 16  # documents that one turn takes at most, of one request or of several

Admit = Callable[[Sequence[float], float], None]


class Turns:
    """Runs tiers for whoever asks.

    Args:
        name: Of the threads.
        spent: Told what some documents cost, where the tier can say.
    """

    def __init__(self, name: str, *, spent: Callable[[Cost], None]) -> None:
        self._name, self._spent = name, spent
        self._account = threading.Lock()
        self._owed = 0.0
        self._inside = 0  # requests in work
        self._is_closed = False
        self._batchers: dict[int, Batcher[Any, Any]] = {}  # by their threads

    def close(self) -> None:
        """Take no more requests; those in work are finished, portion by portion."""
        with self._account:
            self._is_closed = True
            self._let_go()

    def _let_go(self) -> None:
        """End the threads once nobody needs them any more."""
        if self._is_closed and not self._inside:
            for batcher in self._batchers.values():
                batcher.close()

    def predict(
        self, tier: Tier, documents: Sequence[Document], *, admit: Admit | None = None
    ) -> list[Prediction]:
        """Find the entities of documents when it is their turn.

        Args:
            tier: That is to find them; it may be another one than last time.
            documents: Only their texts count.
            admit: Told what each document will take and what other requests have asked for before,
                in seconds; raises where that is too much. No two requests are admitted at once, so
                that both cannot count on the same time.

        Returns:
            One prediction per document, in the same order, all of one version.

        Raises:
            Refusal: If it is closed; and whatever `admit` and the tier raise.
        """
        found: list[Prediction] = []
        waiting: deque[Callable[[], list[Prediction]]] = deque()
        lanes, size = _manner(tier)
        with self._entered(), self._owing(tier, documents, admit):
            batcher = self._batcher(lanes)
            for start in range(0, len(documents), size):
                waiting.append(_begin(batcher, tier, documents[start : start + size]))
                if len(waiting) > lanes:  # one ahead: no thread is idle, the queue never long
                    found += waiting.popleft()()
            return found + [prediction for end in waiting for prediction in end()]

    def _batcher(self, lanes: int) -> "Batcher[Any, Any]":
        """The threads for tiers that run so many portions at once."""
        with self._account:
            if lanes not in self._batchers:
                self._batchers[lanes] = Batcher(
                    self._run, name=self._name, most=PORTION, threads=lanes
                )
            return self._batchers[lanes]

    @contextmanager
    def _entered(self) -> Iterator[None]:
        """A request is in work."""
        with self._account:
            if self._is_closed:
                raise unavailable("the server is being stopped: ask again when it is back")
            self._inside += 1
        try:
            yield
        finally:
            with self._account:
                self._inside -= 1
                self._let_go()

    @contextmanager
    def _owing(
        self, tier: Tier, documents: Sequence[Document], admit: Admit | None
    ) -> Iterator[None]:
        """What a request asks for is owed until it is answered, as far as its tier can say."""
        seconds = tier.estimate(documents) if isinstance(tier, Estimating) else []
        with self._account:
            if admit is not None:
                admit(seconds, self._owed)
            self._owed += sum(seconds)
        try:
            yield
        finally:
            with self._account:
                self._owed -= sum(seconds)

    def _run(self, tier: Tier, waiting: Sequence[Any]) -> list[Any]:
        """Run a tier; an LLM's passes are all on one thread, so that what they cost can be told."""
        if isinstance(tier, EncoderTier):
            return tier.score(waiting)
        if not isinstance(tier, Costly):
            return tier.predict(waiting)
        before = tier.cost
        try:
            return tier.predict(waiting)
        finally:
            self._spent(tier.cost - before)


def _manner(tier: Tier) -> tuple[int, int]:
    """How many portions of a tier run at once, and how many documents each has at most."""
    if isinstance(tier, EncoderTier):
        return tier.forward.lanes, tier.forward.portion
    return 1, PORTION


def _begin(
    batcher: "Batcher[Any, Any]", tier: Tier, portion: Sequence[Document]
) -> Callable[[], list[Prediction]]:
    """Queue a portion; what ends it waits for its turn.

    What an encoder does before and after its passes is done by who asks, beside the passes of
    others.
    """
    if not isinstance(tier, EncoderTier):
        return batcher.submit(tier, portion).result
    read = tier.read(portion)
    scores = batcher.submit(tier, read)
    return lambda: list(map(tier.decide, read, scores.result()))
