"""Whether many come at the same time."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

COOLDOWN_SECONDS = (
    0.05  # seconds that a crowd outlives itself: between two batches, each has other work to do
)


class ConcurrencyGauge:
    """Tells who comes whether there are as many as would keep every CPU at work.

    Args:
        threshold: That make a crowd; one is none.

    Attributes:
        lock: Held for moments only.
        concurrent_batches: That found a crowd so far.
    """

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold
        self.lock = threading.Lock()
        self.concurrent_batches = 0
        self._active = 0
        self._busy_until = 0.0

    @contextmanager
    def track(self) -> Iterator[bool]:
        """Be one of them for a while; gives whether it is a crowd."""
        now = time.monotonic()
        with self.lock:
            self._active += 1
            if self._active >= self._threshold > 1:
                self._busy_until = now + COOLDOWN_SECONDS
            is_crowd = now < self._busy_until
            self.concurrent_batches += is_crowd
        try:
            yield is_crowd
        finally:
            with self.lock:
                self._active -= 1
