"""Fetching texts by address, from allowed hosts only.

An address in a task is untrusted input. So one library both parses it and connects to it, because
two parsers that disagree let forbidden addresses pass. Redirects are not followed, proxies and
``.netrc`` are ignored, and size and time are limited.
"""

import re
import socket
import ssl
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from threading import BoundedSemaphore, Thread
from time import monotonic

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, LocationParseError
from urllib3.util import Url, parse_url

from tagalong.ner.errors import InputError

DEFAULT_PORTS = {"http": 80, "https": 443}
# Browsers read a backslash as a slash, and drop line breaks, so such an address has two meanings.
AMBIGUOUS_CHARACTERS = re.compile(r"[\x00-\x1f\x7f\\]")
MAX_CONCURRENT_FETCHES = 8  # each holds a thread, even after its time limit
READ_SIZE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class WebAddress:
    """A parsed address."""

    scheme: str  # "http" or "https"
    host: str  # in lower case; an IPv6 address in brackets
    port: int  # the default port of the scheme if none is given
    path: str  # with the query

    @property
    def netloc(self) -> str:
        """Host and port, for messages; the path may hold a key."""
        return f"{self.host}:{self.port}"

    def is_allowed(self, hosts: Iterable[str]) -> bool:
        """Whether host and port are among hosts from `parse_allowed_host`."""
        names = {self.netloc}
        if self.port == DEFAULT_PORTS[self.scheme]:
            names.add(self.host)
        return not names.isdisjoint(hosts)


def parse_allowed_host(text: str) -> str:
    """Normalize ``HOST`` or ``HOST:PORT``, as `WebAddress` spells hosts; InputError for others."""
    with suppress(LocationParseError):
        url = parse_url(f"http://{text}")
        plain = (url.auth, url.path, url.query, url.fragment) == (None,) * 4
        if url.host and plain and not AMBIGUOUS_CHARACTERS.search(text) and "*" not in text:
            return url.host if url.port is None else f"{url.host}:{url.port}"
    raise InputError(
        f"{text!r} is not a host to allow: write HOST or HOST:PORT, such as files.example.org or "
        "[::1]:8080, without a scheme, path or asterisk",
        code="invalid-allowed-host",
    )


def parse_hosts(value: str) -> frozenset[str]:
    """Split hosts at commas, as options and the environment have them."""
    return frozenset(filter(None, map(str.strip, value.split(","))))


def parse_web_address(text: str) -> WebAddress:
    """Parse a whole address.

    Raises:
        InputError: If it is not a web address, is ambiguous, or holds credentials. The message does
            not quote it.
    """
    try:
        url = parse_url(text)
    except LocationParseError:
        url = Url()
    host = url.host or "%"  # an escape in a host has no meaning
    if AMBIGUOUS_CHARACTERS.search(text) or url.scheme not in DEFAULT_PORTS or "%" in host:
        raise InputError(
            "the address is not a web address: write http://... or https://...",
            code="invalid-web-address",
        )
    if url.auth is not None:
        raise InputError(
            "the address holds a user name or password: take it out",
            code="address-with-credentials",
        )
    port = DEFAULT_PORTS[url.scheme] if url.port is None else url.port
    return WebAddress(url.scheme, host, port, url.request_uri)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetcher:
    """Fetches texts, at most `MAX_CONCURRENT_FETCHES` at a time."""

    max_bytes: int = 10_000_000  # of one text, after decompression
    timeout_seconds: float = 10.0  # for one text, from the name lookup to the last byte
    semaphore: BoundedSemaphore = field(
        default_factory=lambda: BoundedSemaphore(MAX_CONCURRENT_FETCHES), compare=False
    )

    def fetch(self, address: WebAddress, headers: Mapping[str, str]) -> bytes:
        """Fetch a text, decompressed; the caller has checked that the address is allowed.

        Raises:
            InputError: If there is no answer, a status other than 2xx, or a limit is exceeded.
        """
        deadline = monotonic() + self.timeout_seconds
        late = f"{address.netloc} did not send the text within {self.timeout_seconds:g} seconds"
        if not self.semaphore.acquire(timeout=self.timeout_seconds):
            raise InputError(f"{late}, busy with others: try again", code="fetch-timeout")
        fetching = _FetchThread(address, headers, self)
        fetching.start()
        fetching.join(max(0.0, deadline - monotonic()))
        if fetching.is_alive():
            fetching.stop()
            raise InputError(f"{late}: check whether it is overloaded", code="fetch-timeout")
        if fetching.error is not None:
            raise InputError(f"{address.netloc} {fetching.error}", code="fetch-failed")
        return bytes(fetching.content)


class _FetchThread(Thread):
    """One fetch, in a thread that can be abandoned.

    The time limit of a socket restarts with every byte, and a name lookup has none.
    """

    def __init__(self, address: WebAddress, headers: Mapping[str, str], limits: Fetcher) -> None:
        super().__init__(daemon=True)  # an abandoned fetch must not hold up the end of the process
        self._address, self._headers, self._limits = address, headers, limits
        self._connection = _make_connection(address, limits.timeout_seconds)
        self._socket: socket.socket | None = None
        self._is_abandoned = False
        self.content = bytearray()
        self.error: str | None = "broke off"  # until the last byte

    def run(self) -> None:
        """Fetch the text, or set `error`."""
        try:
            self.error = self._read_response()
        except (HTTPError, HTTPException, OSError) as error:
            # The message of the library quotes the address, so it is left out.
            self.error = f"could not be read ({type(error).__name__}): check whether it runs"
        finally:
            self._connection.close()
            self._limits.semaphore.release()

    def stop(self) -> None:
        """Abandon the thread, and close its connection so that it ends soon."""
        self._is_abandoned = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _read_response(self) -> str | None:
        # Reads the content; returns a reason if it cannot be used.
        self._connection.connect()
        self._socket = self._connection.sock
        if self._is_abandoned:
            return "answers too late"
        self._connection.request(
            "GET", self._address.path, headers=dict(self._headers), preload_content=False
        )
        response = self._connection.getresponse()
        if 300 <= response.status < 400:
            return f"answers with a redirect ({response.status}), which is not followed"
        if not 200 <= response.status < 300:
            return f"answers with the error {response.status}"
        while chunk := response.read1(READ_SIZE_BYTES):
            self.content += chunk
            if len(self.content) > (limit := self._limits.max_bytes):
                return f"has more than {limit:,} bytes there, which is too much for a text"
        return None


def _make_connection(address: WebAddress, seconds: float) -> HTTPConnection:
    host = address.host.strip("[]")  # the library adds them again
    if address.scheme == "http":
        return HTTPConnection(host, address.port, timeout=seconds)
    context = ssl.create_default_context()
    return HTTPSConnection(host, address.port, timeout=seconds, ssl_context=context)
