"""The rate limit of long work on Label Studio, and its retries during an outage."""

import time
from collections.abc import Callable
from typing import TypeVar

import tenacity

from tagalong.ner.errors import LabelStudioError

TRANSIENT_KINDS = frozenset({"unreachable", "slow", "failed"})
MAX_BACKOFF_SECONDS = 30.0

T = TypeVar("T")


def is_transient(error: BaseException) -> bool:
    """Whether a retry may succeed: after lost connections, timeouts, 429 and 5xx."""
    return isinstance(error, LabelStudioError) and error.kind in TRANSIENT_KINDS


class RateLimitedRetry:
    """Spaces requests, and repeats them during an outage."""

    def __init__(
        self,
        *,
        requests_per_second: float = 10.0,
        max_outage_seconds: float = 600.0,  # after which a request fails
        notify: Callable[[str], None] = lambda _: None,  # gets a sentence when an outage begins
    ) -> None:
        self._interval_seconds, self._next_call_at = 1 / requests_per_second, 0.0
        self._max_outage_seconds, self._notify = max_outage_seconds, notify

    def call_once(self, request: Callable[[], T]) -> T:
        """Wait for the rate limit, then send a request that must not be repeated."""
        time.sleep(max(0.0, self._next_call_at - time.monotonic()))
        self._next_call_at = time.monotonic() + self._interval_seconds
        return request()

    def call(self, request: Callable[[], T]) -> T:
        """Send a request, and repeat it until it succeeds or the outage lasts too long."""
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(is_transient),
            wait=tenacity.wait_exponential_jitter(initial=1, max=MAX_BACKOFF_SECONDS),
            stop=tenacity.stop_after_delay(self._max_outage_seconds),
            before_sleep=self._notify_outage,
            reraise=True,
        )
        return retrying(self.call_once, request)

    def _notify_outage(self, state: tenacity.RetryCallState) -> None:
        if state.attempt_number == 1 and state.outcome is not None:
            self._notify(
                f"{state.outcome.exception()}; asking again for up to "
                f"{self._max_outage_seconds:.0f} s."
            )
