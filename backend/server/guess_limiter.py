"""Slows down those who guess passwords and secrets."""

import hashlib
import ipaddress
import math
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from tagalong.backend.server.prediction.request import RequestError

MAX_WRONG_GUESSES = 10  # of one client address at once
SECONDS_PER_GUESS = 6.0  # afterwards: ten in a minute
MAX_ADDRESSES = 1_000  # the least recently seen is forgotten
IPV6_PREFIX = 64  # a client can use all addresses of such a network


@dataclass(frozen=True, slots=True)
class _Guesses:
    """Wrong guesses of an address: those that still counted at a time, and the last digests."""

    count: float
    since: float  # monotonic seconds
    wrong: tuple[bytes, ...] = ()


class GuessLimiter:
    """Counts wrong guesses by client address, in constant memory.

    An address with too many has to wait for a few seconds, and meanwhile new guesses are not
    answered. Passwords and secrets that were right before are let through: otherwise a guesser
    behind the same proxy could lock Label Studio out. A wrong one counts once, however often a
    wrong setting sends it. No thread waits.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._key = os.urandom(16)
        self._guesses: OrderedDict[str, _Guesses] = OrderedDict()  # by address
        self._accepted: OrderedDict[tuple[str, bytes], None] = OrderedDict()

    def check(self, address: str, guess: bytes, *, is_right: bool) -> bool:
        """Record a guess and return `is_right`.

        Raises:
            RequestError: If the address has to wait, whether or not the guess is right.
        """
        address = _network(address)
        digest = hashlib.blake2b(guess, key=self._key, digest_size=16).digest()
        with self._lock:
            if is_right and (address, digest) in self._accepted:
                self._accepted.move_to_end((address, digest))
                return True
            now = self._clock()
            guesses = self._guesses.get(address, _Guesses(0.0, now))
            if not is_right and digest in guesses.wrong:
                return False
            count = max(0.0, guesses.count - (now - guesses.since) / SECONDS_PER_GUESS)
            if count > MAX_WRONG_GUESSES - 1:
                wait = math.ceil((count - (MAX_WRONG_GUESSES - 1)) * SECONDS_PER_GUESS)
                raise RequestError(
                    HTTPStatus.TOO_MANY_REQUESTS,
                    "too many wrong passwords or secrets came from this address: try again in "
                    f"{wait} seconds",
                    code="too-many-wrong-passwords",
                    retry_after_seconds=wait,
                )
            if is_right:
                self._accepted[address, digest] = None
                _trim(self._accepted)
            else:
                wrong = (*guesses.wrong, digest)[-MAX_WRONG_GUESSES:]
                self._guesses[address] = _Guesses(count + 1, now, wrong)
                self._guesses.move_to_end(address)
                _trim(self._guesses)
            return is_right


def _trim(entries: OrderedDict[Any, Any]) -> None:
    while len(entries) > MAX_ADDRESSES:
        entries.popitem(last=False)


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address  # of a unix socket
    prefix = IPV6_PREFIX if parsed.version == 6 else 32
    return str(ipaddress.ip_network((parsed, prefix), strict=False))
