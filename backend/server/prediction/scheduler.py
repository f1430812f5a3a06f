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

from tagalong.backend.models.tier import Tier
from tagalong.backend.models.tier.decoding_stats import DecodingStats
from tagalong.backend.server.prediction.batcher import Batcher
from tagalong.backend.server.prediction.errors import service_unavailable
from tagalong.ner.document import Document, Prediction

MAX_BATCH_DOCUMENTS = 16  # documents that one turn takes at most, of one request or of several

AdmissionCheck = Callable[[Sequence[float], float], None]


class RequestScheduler:
    """Runs tiers for whoever asks.

    Args:
        name: Of the threads.
        on_decoded: Told what some documents cost, where the tier can say.
    """

    def __init__(self, name: str, *, on_decoded: Callable[[DecodingStats], None]) -> None:
        self._name, self._on_decoded = name, on_decoded
        self._lock = threading.Lock()
        self._backlog_seconds = 0.0
        self._active_requests = 0  # requests in work
        self._is_closed = False
        self._batchers: dict[int, Batcher[Any, Any]] = {}  # by their threads

    def close(self) -> None:
        """Take no more requests; those in work are finished, portion by portion."""
        with self._lock:
            self._is_closed = True
            self._close_if_idle()

    def _close_if_idle(self) -> None:
        """End the threads once nobody needs them any more."""
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
        """Find the entities of documents when it is their turn.

        Args:
            tier: That is to find them; it may be another one than last time.
            documents: Only their texts count.
            check_admission: Told what each document will take and what other requests have asked for before,
                in seconds; raises where that is too much. No two requests are admitted at once, so
                that both cannot count on the same time.

        Returns:
            One prediction per document, in the same order, all of one version.

        Raises:
            Refusal: If it is closed; and whatever `admit` and the tier raise.
        """
        found: list[Prediction] = []
        waiting: deque[Callable[[], list[Prediction]]] = deque()
        lanes, size = tier.streams, tier.documents_per_request_chunk
        with self._track_request(), self._track_backlog(tier, documents, check_admission):
            batcher = self._batcher_for(lanes)
            for start in range(0, len(documents), size):
                waiting.append(_submit_chunk(batcher, tier, documents[start : start + size]))
                if len(waiting) > lanes:  # one ahead: no thread is idle, the queue never long
                    found += waiting.popleft()()
            return found + [prediction for end in waiting for prediction in end()]

    def _batcher_for(self, streams: int) -> "Batcher[Any, Any]":
        """The threads for tiers that run so many portions at once."""
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
        """A request is in work."""
        with self._lock:
            if self._is_closed:
                raise service_unavailable("the server is being stopped: ask again when it is back")
            self._active_requests += 1
        try:
            yield
        finally:
            with self._lock:
                self._active_requests -= 1
                self._close_if_idle()

    @contextmanager
    def _track_backlog(
        self, tier: Tier, documents: Sequence[Document], admit: AdmissionCheck | None
    ) -> Iterator[None]:
        """What a request asks for is owed until it is answered, as far as its tier can say."""
        seconds = tier.estimate_seconds(documents)
        with self._lock:
            if admit is not None:
                admit(seconds, self._backlog_seconds)
            self._backlog_seconds += sum(seconds)
        try:
            yield
        finally:
            with self._lock:
                self._backlog_seconds -= sum(seconds)

    def _run_tier(self, tier: Tier, encoded: Sequence[Any]) -> list[Any]:
        """Run a tier, and report its decoding; a tier that counts it has one stream."""
        before = tier.decoding_stats
        try:
            return tier.run(encoded)
        finally:
            if before is not None and tier.decoding_stats is not None:
                self._on_decoded(tier.decoding_stats - before)


def _submit_chunk(
    batcher: "Batcher[Any, Any]", tier: Tier, documents: Sequence[Document]
) -> Callable[[], list[Prediction]]:
    """Queue a chunk; returns a callable that waits for its predictions.

    The calling thread encodes and decodes, beside the forward passes of other requests.
    """
    encoded = tier.encode(documents)
    outputs = batcher.submit(tier, encoded)
    return lambda: list(map(tier.decode, encoded, outputs.result()))
