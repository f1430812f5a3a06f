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

from tagalong.ner.errors import LabelStudioError

TRANSIENT_PROBLEMS = frozenset({"unreachable", "slow", "failed"})  # what may be over in a while
MAX_BACKOFF_SECONDS = 30.0  # seconds

T = TypeVar("T")


def is_transient(error: BaseException) -> bool:
    """Whether the same request may be answered later.

    Args:
        error: What came of it.

    Returns:
        True for lost connections, silence, 429 and 5xx; never for what Label Studio refused.
    """
    return isinstance(error, LabelStudioError) and error.kind in TRANSIENT_PROBLEMS


class RateLimitedRetry:
    """Spaces requests, and repeats those that may be repeated.

    Args:
        requests_per_second: Requests a second, at most.
        max_outage_seconds: Seconds that Label Studio may be away.
        notify: Told in a sentence that it is.
    """

    def __init__(
        self,
        *,
        requests_per_second: float = 10.0,
        max_outage_seconds: float = 600.0,
        notify: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._interval_seconds, self._max_outage_seconds, self._notify = (
            1 / requests_per_second,
            max_outage_seconds,
            notify,
        )
        self._next_call_at = 0.0

    def call_once(self, request: Callable[[], T]) -> T:
        """Ask when it is time to.

        Args:
            request: Sends one request.

        Returns:
            What it returns, or raises.
        """
        time.sleep(max(0.0, self._next_call_at - time.monotonic()))
        self._next_call_at = time.monotonic() + self._interval_seconds
        return request()

    def call(self, request: Callable[[], T]) -> T:
        """Ask until there is an answer, or Label Studio has been away for too long.

        Args:
            request: Sends one request, and may be repeated.

        Returns:
            What it returns, or raises.
        """
        retrying = Retrying(
            retry=retry_if_exception(is_transient),
            wait=wait_exponential_jitter(initial=1, max=MAX_BACKOFF_SECONDS),
            stop=stop_after_delay(self._max_outage_seconds),
            before_sleep=self._notify_outage,
            reraise=True,
        )
        return retrying(self.call_once, request)

    def _notify_outage(self, state: RetryCallState) -> None:
        """Say that Label Studio is away, the first time."""
        if state.attempt_number == 1 and state.outcome is not None:
            self._notify(
                f"{state.outcome.exception()}; asking again for up to {self._max_outage_seconds:.0f} s."
            )
