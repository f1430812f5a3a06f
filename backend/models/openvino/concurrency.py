"""Tell whether calls come at the same time."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

COOLDOWN_SECONDS = 0.05  # between two batches of busy threads, which do other work as well


class ConcurrencyGauge:
    """Tells each call whether enough calls are in progress to keep every CPU at work.

    Args:
        threshold: Calls that are enough; one never is.

    Attributes:
        lock: Held for moments only.
        concurrent_batches: Calls so far that came at the same time as enough others.
    """

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold
        self.lock = threading.Lock()
        self.concurrent_batches = 0
        self._active = 0
        self._busy_until = 0.0

    @contextmanager
    def track(self) -> Iterator[bool]:
        """Track one call; yields whether concurrency has reached the threshold."""
        now = time.monotonic()
        with self.lock:
            self._active += 1
            if self._active >= self._threshold > 1:
                self._busy_until = now + COOLDOWN_SECONDS
            is_concurrent = now < self._busy_until
            self.concurrent_batches += is_concurrent
        try:
            yield is_concurrent
        finally:
            with self.lock:
                self._active -= 1
