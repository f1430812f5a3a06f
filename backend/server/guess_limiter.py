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
from tagalong.ner.counted_nouns import pluralize

MAX_WRONG_GUESSES = 10  # of one client address at once
SECONDS_PER_GUESS = 6.0  # afterwards: ten in a minute
FORWARDED_WEIGHT = 0.1  # of a guess through a proxy: ten clients may guess at once
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

    A client can forge the address that a proxy forwards. So all guesses through one connection
    address are counted too, each as a share.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._key = os.urandom(16)
        self._guesses: OrderedDict[str, _Guesses] = OrderedDict()  # by client, or connection
        self._accepted: OrderedDict[tuple[str, bytes], None] = OrderedDict()  # by client

    def check(self, address: str, guess: bytes, *, is_right: bool, forwarded: str = "") -> bool:
        """Record a guess and return `is_right`.

        Args:
            address: Address of the connection.
            guess: The password or secret.
            is_right: Whether it is right.
            forwarded: Address of the client that a proxy sent, if it sent one.

        Raises:
            RequestError: If the address has to wait, whether or not the guess is right.
        """
        connection = _network(address) or address  # that of a unix socket is empty
        client = f"{connection} {_network(forwarded)}".strip()
        digest = hashlib.blake2b(guess, key=self._key, digest_size=16).digest()
        with self._lock:
            if is_right and (client, digest) in self._accepted:
                self._accepted.move_to_end((client, digest))
                return True
            now = self._clock()
            if not is_right and digest in self._read(client, now).wrong:
                return False
            weights = {connection: FORWARDED_WEIGHT} | {client: 1.0}  # often the same
            counts = {key: self._read(key, now).count for key in weights}
            excess = max(counts.values()) - (MAX_WRONG_GUESSES - 1)
            if excess > 0:
                wait = math.ceil(excess * SECONDS_PER_GUESS)
                raise RequestError(
                    HTTPStatus.TOO_MANY_REQUESTS,
                    "too many wrong passwords or secrets came from this address: try again in "
                    f"{pluralize(wait, 'second')}",
                    code="too-many-wrong-passwords",
                    retry_after_seconds=wait,
                )
            if is_right:
                self._accepted[client, digest] = None
                _trim(self._accepted)
                return True
            for key, weight in weights.items():
                wrong = (*self._read(key, now).wrong, digest)[-MAX_WRONG_GUESSES:]
                self._guesses[key] = _Guesses(counts[key] + weight, now, wrong)
                self._guesses.move_to_end(key)
            _trim(self._guesses)
            return False

    def _read(self, key: str, now: float) -> _Guesses:
        """The guesses that still count."""
        guesses = self._guesses.get(key, _Guesses(0.0, now))
        count = max(0.0, guesses.count - (now - guesses.since) / SECONDS_PER_GUESS)
        return _Guesses(count, now, guesses.wrong)


def _trim(entries: OrderedDict[Any, Any]) -> None:
    while len(entries) > MAX_ADDRESSES:
        entries.popitem(last=False)


def _network(address: str) -> str:
    """The network of a client; empty unless it is an IP address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    prefix = IPV6_PREFIX if parsed.version == 6 else 32
    return str(ipaddress.ip_network((parsed, prefix), strict=False))
