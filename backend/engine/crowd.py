"""Whether many come at the same time."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

CALM = 0.05  # seconds that a crowd outlives itself: between two batches, each has other work to do


class Crowd:
    """Tells who comes whether there are as many as would keep every CPU at work.

    Args:
        enough: That make a crowd; one is none.

    Attributes:
        lock: Held for moments only.
        batches: That found a crowd so far.
    """

    def __init__(self, enough: int) -> None:
        self._enough = enough
        self.lock = threading.Lock()
        self.batches = 0
        self._here = 0
        self._until = 0.0

    @contextmanager
    def joined(self) -> Iterator[bool]:
        """Be one of them for a while; gives whether it is a crowd."""
        now = time.monotonic()
        with self.lock:
            self._here += 1
            if self._here >= self._enough > 1:
                self._until = now + CALM
            is_crowd = now < self._until
            self.batches += is_crowd
        try:
            yield is_crowd
        finally:
            with self.lock:
                self._here -= 1
