"""How fast a tier is on this machine, from the work it has done, to tell what a request will take.

Measured in words, since those of a text are counted in no time, whatever is in it.
"""

MEASURED = 1.0  # seconds: what took less says more of its overhead than of the pace
REMEMBERED = 0.8  # of what was measured before, each time more is


class Pace:
    """Words per second, over the last pieces of work that were long enough to tell."""

    def __init__(self) -> None:
        self._words = self._seconds = 0.0

    def note(self, words: int, seconds: float, *, first: bool = False) -> None:
        """Some work is done.

        Args:
            words: Tagged.
            seconds: It took.
            first: Count it however short it was, in place of what was measured before.
        """
        if first:
            self._words, self._seconds = float(words), seconds
        elif seconds >= MEASURED and words:
            self._words = REMEMBERED * self._words + words
            self._seconds = REMEMBERED * self._seconds + seconds

    def seconds_for(self, words: int) -> float:
        """Estimate.

        Args:
            words: To be tagged.

        Returns:
            Seconds; 0 where nothing was measured yet.
        """
        return words * self._seconds / self._words if self._words else 0.0
