"""An address -> the bytes there, from hosts that were allowed by name and from no others.

An address in a task is whatever somebody imported. So it is read once, by the library that connects
(two readers of one address are how such checks are passed by), redirects are not followed, proxies
and ``.netrc`` of the environment are not looked at, and size and time are bounded.
"""

import re
import socket
import ssl
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from threading import BoundedSemaphore, Thread
from time import monotonic

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, LocationParseError
from urllib3.util import Url, parse_url

from tagalong.ner.errors import InputError

DEFAULT_PORTS = {"http": 80, "https": 443}
# Browsers read a backslash as a slash, and drop line breaks: addresses that look like two.
AMBIGUOUS_CHARACTERS = re.compile(r"[\x00-\x1f\x7f\\]")
MAX_CONCURRENT_FETCHES = 8  # fetches in work; each holds a thread, some longer than anybody waits
READ_SIZE_BYTES = 65_536  # bytes


@dataclass(frozen=True, slots=True)
class WebAddress:
    """Where something is on the web.

    Attributes:
        scheme: "http" or "https".
        host: In lower case; an IPv6 address in brackets.
        port: Said or understood.
        path: With the query.
    """

    scheme: str
    host: str
    port: int
    path: str

    @property
    def netloc(self) -> str:
        """Host and port, for messages: the path may hold a key."""
        return f"{self.host}:{self.port}"

    def is_same_server(self, other: "WebAddress") -> bool:
        """Whether two are on the same server, reached in the same way."""
        return (self.scheme, self.netloc) == (other.scheme, other.netloc)

    def is_allowed(self, hosts: Iterable[str]) -> bool:
        """Whether it is on one of some hosts.

        Args:
            hosts: As `parse_allowed_host` gives them; without a port, the usual one of the scheme is meant.

        Returns:
            True if host and port are exactly those.
        """
        usual = {self.host} if self.port == DEFAULT_PORTS[self.scheme] else set[str]()
        return not usual.union({self.netloc}).isdisjoint(hosts)


def parse_allowed_host(text: str) -> str:
    """Read the name of a host that is allowed.

    Args:
        text: ``HOST`` or ``HOST:PORT``; an IPv6 address in brackets.

    Returns:
        The same, as `WebAddress` spells hosts.

    Raises:
        InputError: If it is anything else, such as a whole address or a pattern.
    """
    with suppress(LocationParseError):
        url = parse_url(f"http://{text}")
        plain = (url.auth, url.path, url.query, url.fragment) == (None,) * 4
        if url.host and plain and not AMBIGUOUS_CHARACTERS.search(text) and "*" not in text:
            return url.host if url.port is None else f"{url.host}:{url.port}"
    raise InputError(
        f"{text!r} is not a host to allow: write HOST or HOST:PORT, such as files.example.org or "
        "[::1]:8080, without a scheme, path or asterisk"
    )


def parse_web_address(text: str) -> WebAddress:
    """Read a whole address.

    Args:
        text: Any text.

    Returns:
        The address.

    Raises:
        InputError: If it is not one of the web, can be read in two ways, or holds credentials. The
            message does not quote it.
    """
    try:
        url = parse_url(text)
    except LocationParseError:
        url = Url()
    host = url.host or "%"  # what is still escaped in a host has no meaning
    if AMBIGUOUS_CHARACTERS.search(text) or url.scheme not in DEFAULT_PORTS or "%" in host:
        raise InputError("the address is not one of the web: it must be http://... or https://...")
    if url.auth is not None:
        raise InputError("the address holds a user name or password: take it out")
    port = DEFAULT_PORTS[url.scheme] if url.port is None else url.port
    return WebAddress(url.scheme, host, port, url.request_uri)


class Fetcher:
    """Fetches what is at addresses, a few at once.

    Args:
        max_bytes: Bytes of what is fetched, unpacked.
        timeout_seconds: For all of it: name, connection, and every byte.
    """

    def __init__(self, *, max_bytes: int, timeout_seconds: float) -> None:
        self._max_bytes, self._timeout_seconds = max_bytes, timeout_seconds
        self._semaphore = BoundedSemaphore(MAX_CONCURRENT_FETCHES)

    def fetch(self, address: WebAddress, headers: Mapping[str, str]) -> bytes:
        """Fetch what is at an address.

        Args:
            address: Allowed already.
            headers: To send, besides those that every request has.

        Returns:
            The content, unpacked.

        Raises:
            InputError: If it does not come: no answer, another one than 2xx, too much, too slow.
        """
        until = monotonic() + self._timeout_seconds
        late = f"{address.netloc} did not give the text within {self._timeout_seconds:g} seconds"
        if not self._semaphore.acquire(timeout=self._timeout_seconds):
            raise InputError(f"{late}, busy with others: try again")
        fetching = _FetchThread(
            address, headers, self._max_bytes, self._timeout_seconds, self._semaphore
        )
        fetching.start()
        fetching.join(max(0.0, until - monotonic()))
        if fetching.is_alive():
            fetching.stop()
            raise InputError(f"{late}: see whether it is overloaded")
        if fetching.error is not None:
            raise InputError(f"{address.netloc} {fetching.error}")
        return bytes(fetching.content)


class _FetchThread(Thread):
    """One fetch, in a thread that can be left behind.

    Time limits of sockets start anew with every byte, and looking up a name has none.
    """

    def __init__(
        self,
        address: WebAddress,
        headers: Mapping[str, str],
        most: int,
        seconds: float,
        room: BoundedSemaphore,
    ) -> None:
        super().__init__(daemon=True)
        self._address, self._headers, self._max_bytes, self._semaphore = (
            address,
            headers,
            most,
            room,
        )
        self._connection = _make_connection(address, seconds)
        self._socket: socket.socket | None = None
        self._is_abandoned = False
        self.content = bytearray()
        self.error: str | None = "broke off"  # until all has come

    def run(self) -> None:
        """Fetch, and say what went wrong."""
        try:
            self.error = self._read_response()
        except (HTTPError, HTTPException, OSError) as error:
            # The library's own words quote the address.
            self.error = f"could not be read ({type(error).__name__}): see whether it is up"
        finally:
            self._connection.close()
            self._semaphore.release()

    def stop(self) -> None:
        """Leave the thread, and let it find its connection closed, wherever it is."""
        self._is_abandoned = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _read_response(self) -> str | None:
        """Fill the content; what is wrong with the answer, if anything."""
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
        while piece := response.read1(READ_SIZE_BYTES):
            self.content += piece
            if len(self.content) > self._max_bytes:
                return (
                    f"has more than {self._max_bytes:,} bytes there, which is too much for a text"
                )
        return None


def _make_connection(address: WebAddress, seconds: float) -> HTTPConnection:
    """A connection that is not open yet."""
    host = address.host.strip("[]")  # the library puts them on again
    if address.scheme == "http":
        return HTTPConnection(host, address.port, timeout=seconds)
    context = ssl.create_default_context()
    return HTTPSConnection(host, address.port, timeout=seconds, ssl_context=context)
