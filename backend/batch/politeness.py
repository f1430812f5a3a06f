"""How a batch asks Label Studio: not too often, and again where it cannot answer for a while."""

import time
from collections.abc import Callable
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_delay,
    wait_exponential_jitter,
)

from ner.errors import LabelStudioError

PASSING = frozenset({"unreachable", "slow", "failed"})  # what may be over in a while
LONGEST_PAUSE = 30.0  # seconds

T = TypeVar("T")


def passes(error: BaseException) -> bool:
    """Whether the same request may be answered later.

    Args:
        error: What came of it.

    Returns:
        True for lost connections, silence, 429 and 5xx; never for what Label Studio refused.
    """
    return isinstance(error, LabelStudioError) and error.problem in PASSING


class Politeness:
    """Spaces requests, and repeats those that may be repeated.

    Args:
        rate: Requests a second, at most.
        patience: Seconds that Label Studio may be away.
        tell: Told in a sentence that it is.
    """

    def __init__(
        self,
        *,
        rate: float = 10.0,
        patience: float = 600.0,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._pause, self._patience, self._tell = 1 / rate, patience, tell
        self._next = 0.0

    def once(self, ask: Callable[[], T]) -> T:
        """Ask when it is time to.

        Args:
            ask: Sends one request.

        Returns:
            What it returns, or raises.
        """
        time.sleep(max(0.0, self._next - time.monotonic()))
        self._next = time.monotonic() + self._pause
        return ask()

    def patiently(self, ask: Callable[[], T]) -> T:
        """Ask until there is an answer, or Label Studio has been away for too long.

        Args:
            ask: Sends one request, and may be repeated.

        Returns:
            What it returns, or raises.
        """
        retrying = Retrying(
            retry=retry_if_exception(passes),
            wait=wait_exponential_jitter(initial=1, max=LONGEST_PAUSE),
            stop=stop_after_delay(self._patience),
            before_sleep=self._say,
            reraise=True,
        )
        return retrying(self.once, ask)

    def _say(self, state: RetryCallState) -> None:
        """Say that Label Studio is away, the first time."""
        if state.attempt_number == 1 and state.outcome is not None:
            self._tell(
                f"{state.outcome.exception()}; asking again for up to {self._patience:.0f} s."
            )
