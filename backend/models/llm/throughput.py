"""Estimate the throughput of a tier on this machine, in words, which are counted fast."""

MIN_MEASUREMENT_SECONDS = 1.0  # a shorter run measures its overhead more than the throughput
DECAY = 0.8  # weight of the earlier measurements at each new one


class ThroughputEstimate:
    """Words per second, over the latest runs that were long enough."""

    def __init__(self) -> None:
        self._words = self._seconds = 0.0

    def update(self, words: int, seconds: float, *, reset: bool = False) -> None:
        """Add a measurement.

        Args:
            words: Words tagged.
            seconds: The time they took.
            reset: Replace the earlier measurements, and take this one however short it was.
        """
        if reset:
            self._words, self._seconds = float(words), seconds
        elif seconds >= MIN_MEASUREMENT_SECONDS and words:
            self._words = DECAY * self._words + words
            self._seconds = DECAY * self._seconds + seconds

    def estimate_seconds(self, words: int) -> float:
        """Seconds to tag some words; 0 before the first measurement."""
        return words * self._seconds / self._words if self._words else 0.0
