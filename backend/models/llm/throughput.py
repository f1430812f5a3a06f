"""How fast a tier is on this machine, from the work it has done, to tell what a request will take.

Measured in words, since those of a text are counted in no time, whatever is in it.
"""

MIN_MEASUREMENT_SECONDS = 1.0  # seconds: what took less says more of its overhead than of the pace
DECAY = 0.8  # of what was measured before, each time more is


class ThroughputEstimate:
    """Words per second, over the last pieces of work that were long enough to tell."""

    def __init__(self) -> None:
        self._words = self._seconds = 0.0

    def update(self, words: int, seconds: float, *, reset: bool = False) -> None:
        """Some work is done.

        Args:
            words: Tagged.
            seconds: It took.
            reset: Count it however short it was, in place of what was measured before.
        """
        if reset:
            self._words, self._seconds = float(words), seconds
        elif seconds >= MIN_MEASUREMENT_SECONDS and words:
            self._words = DECAY * self._words + words
            self._seconds = DECAY * self._seconds + seconds

    def estimate_seconds(self, words: int) -> float:
        """Estimate.

        Args:
            words: To be tagged.

        Returns:
            Seconds; 0 where nothing was measured yet.
        """
        return words * self._seconds / self._words if self._words else 0.0
