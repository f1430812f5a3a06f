"""The HTTP server: waitress with deadlines, and fixed answers to malformed requests.

One thread receives all requests whole, and other threads answer them. So a slow client holds a
connection, but no thread.
"""

import json
import re
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from waitress import receiver, wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.receiver import ChunkedReceiver
from waitress.server import TcpWSGIServer

from tagalong.backend.server.prediction.request import RETRY_AFTER_SECONDS

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

HEAD_SECONDS = 10.0  # from the first byte of a request to the end of its headers
STALL_SECONDS = 30.0  # without a byte of a body or of an answer
# Between two requests. Proxies must close first, or send into a closing connection: nginx's and
# AWS's wait for 60 s.
IDLE_SECONDS = 75.0
# A body of one byte now and then would hold its connection for ever.
MIN_BODY_BYTES_PER_SECOND = 1_000
MAX_HEAD_BYTES = 32_768
MAX_CHUNK_HEAD_BYTES = 1_024  # the size of a chunk with its extensions; also all trailers
MAX_CONNECTIONS = 1_000
MAX_KEPT_CONNECTIONS = 900  # above, idle ones are closed
# At once. waitress copies what is left of them for each chunk and for each request.
RECEIVE_BYTES = 8_192
BLANK = b"\r\n"
SUM_BYTES = 2**20  # after so many bytes of a body, those of all connections are added up
DRAIN_SECONDS = 5.0  # to read what a refused client still sends: a reset would lose the answer
STOP_SECONDS = 25.0  # for requests in work when the server stops; containers are killed after 30
UNLIMITED_BYTES = 2**40
# A path, alone or below an address. Clients escape all other characters.
TARGET = re.compile(r"(?:https?://([A-Za-z0-9.:\[\]_-]+))?/[!-~]*")
TRANSFER_ENCODING = re.compile(rb"\r\ntransfer-encoding:[ \t]*(.*?)[ \t]*(?=\r\n)", re.IGNORECASE)
FOLDED_LINE = re.compile(rb"\r\n[ \t]")
# Patterns of waitress and Werkzeug take quadratic time on a long run of blanks.
BLANK_RUN = re.compile(rb"[ \t]{100}")
# waitress ends these patterns with "$", which matches before a line feed too. A proxy may take
# that for the end of the line, and then sees other requests than the server.
receiver.ONLY_HEXDIG_RE = re.compile(rb"[0-9A-Fa-f]+\Z")
receiver.CHUNK_EXT_RE = re.compile(receiver.CHUNK_EXT_RE.pattern[:-1] + rb"\Z")
INTERNAL_ERROR = ("the server failed: its log shows where", "internal-error")
REFUSALS = {  # by status: the sentence and the code of the answer
    HTTPStatus.BAD_REQUEST: (
        "the request is not valid HTTP: send it as Label Studio does",
        "request-malformed",
    ),
    HTTPStatus.REQUEST_TIMEOUT: (
        "the request did not arrive in time: send it again over a faster connection",
        "request-too-slow",
    ),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (
        "the request has more than {:,} bytes: send less, such as fewer tasks",
        "body-too-large",
    ),
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: (
        "the headers have more than {:,} bytes: send fewer",
        "headers-too-large",
    ),
    HTTPStatus.SERVICE_UNAVAILABLE: (
        "requests in work or waiting hold as much data as the server takes at once: try again in "
        "a moment, or select fewer tasks at once",
        "too-much-data",
    ),
    HTTPStatus.NOT_IMPLEMENTED: (
        "the transfer encoding is not supported: use chunked, or none",
        "transfer-encoding-unsupported",
    ),
}


class Refusal:
    """An answer to a request that never reaches the app; it quotes nothing that was sent."""

    def __init__(self, status: int, max_bytes: int = MAX_HEAD_BYTES) -> None:
        self.code, self._max_bytes = HTTPStatus(status), max_bytes

    def to_response(self, _ident: str | None = None) -> tuple[str, list[tuple[str, str]], bytes]:
        """Status line, headers and body, as waitress sends them."""
        message, code = REFUSALS.get(self.code, INTERNAL_ERROR)
        body = json.dumps({"error": message.format(self._max_bytes), "code": code}).encode()
        headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
        if self.code == HTTPStatus.SERVICE_UNAVAILABLE:
            headers.append(("Retry-After", str(RETRY_AFTER_SECONDS)))
        return f"{self.code:d} {self.code.phrase}", headers, body


class RequestParser(HTTPRequestParser):
    """Receives one request."""

    error: Refusal | None
    completed: bool

    def __init__(self, adjustments: Adjustments, *, server: "HTTPServer") -> None:
        super().__init__(adjustments)
        self._server = server

    def received(self, data: bytes) -> int:
        """Take the next bytes; returns how many of them belong to this request."""
        if self.body_rcv is None and not self.header_plus and data.startswith(BLANK):
            self.empty = self.completed = True  # waitress would take two lines at a time
            return len(data) - len(data.lstrip(BLANK))
        before = self.body_bytes_received
        consumed: int = super().received(data)
        body = self.body_rcv
        if self.error is not None:
            self.error = Refusal(self.error.code)  # the library's message quotes the request
            consumed = len(data)  # nothing that follows is a request
        elif body is not None:
            refusal = self._server.find_refusal(self, before)
            if isinstance(body, ChunkedReceiver):
                # waitress keeps lines without an end whole, and copies them with every byte.
                longest = max(len(body.control_line), len(body.trailer), len(body.chunk_end))
                if longest > MAX_CHUNK_HEAD_BYTES:
                    refusal = Refusal(HTTPStatus.BAD_REQUEST)
            if refusal is not None:
                self.refuse(refusal)
        if self.completed:
            self.expect_continue = False  # or waitress waits for a body that never comes
        return consumed

    def parse_header(self, header_plus: bytes) -> None:
        """Parse the request line and the headers; raises ParsingError if they are malformed.

        A request that a proxy may understand otherwise is malformed too (RFC 9112).
        """
        if BLANK_RUN.search(header_plus):
            raise ParsingError("blanks")
        try:
            super().parse_header(header_plus)
        except ValueError as error:  # a Content-Length of thousands of digits
            raise ParsingError("invalid") from error
        headers, host = self.headers, self.headers.get("HOST")
        target = TARGET.fullmatch(self.request_uri)
        codings = [coding.lower() for coding in TRANSFER_ENCODING.findall(header_plus)]
        is_chunked = codings == [b"chunked"] and self.chunked and "CONTENT_LENGTH" not in headers
        if (
            self.version not in ("1.0", "1.1")
            or (host is None and self.version == "1.1")
            or (host is not None and "," in host)
            or target is None
            or target[1] not in (None, host)
            or (codings and not is_chunked)
            or FOLDED_LINE.search(header_plus)
        ):
            raise ParsingError("ambiguous")

    def refuse(self, refusal: Refusal) -> None:
        """End the request with an error, and free its body."""
        self.error, self.completed = refusal, True
        self.close()
        self.body_bytes_received = 0


class Channel(HTTPChannel):
    """One connection."""

    request: RequestParser | None
    will_close: bool
    close_when_flushed: bool

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.parser_class = partial(RequestParser, server=self.server)
        self._request_started = self.creation_time
        self._has_refused = self._is_sending = False
        self._drain_deadline: float | None = None

    def received(self, data: bytes) -> bool:
        """Take the next bytes of the client."""
        before = self.request
        accepted: bool = super().received(data)
        if self.request is not before:
            self._request_started = self.last_activity
        return accepted

    def service(self) -> None:
        """Answer a request, on a thread of its own."""
        self._has_refused |= self.requests[0].error is not None
        super().service()

    def readable(self) -> bool:
        """Whether to wait for bytes of the client."""
        return bool(super().readable()) if self._drain_deadline is None else not self.will_close

    def writable(self) -> bool:
        """Whether to wait until the client takes more of an answer."""
        # While a thread sends, waiting too would keep the receiving thread busy. At the end of the
        # answer the thread wakes it.
        return self.will_close if self._is_sending else bool(super().writable())

    def write_soon(self, data: bytes) -> int:
        """Send a part of an answer, on the thread that answers; keeps what is not taken yet."""
        self._is_sending = True
        try:
            return int(super().write_soon(data))
        finally:
            self._is_sending = False

    def handle_read(self) -> None:
        """Receive bytes; after a refusal, drop them."""
        if self._drain_deadline is None:
            super().handle_read()
        else:
            with suppress(OSError):
                self.recv(self.adj.recv_bytes)

    def handle_write(self) -> None:
        """Send what is there to send; after a refusal, keep the connection for a moment."""
        is_sent = self.close_when_flushed and not self.total_outbufs_len
        if is_sent and self._has_refused and not self.will_close:
            self.close_when_flushed = False
            self._drain_deadline = time.time() + DRAIN_SECONDS
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
            return
        super().handle_write()

    def check_deadlines(self, now: float) -> None:
        """Refuse a request that does not arrive, and close a connection that does not move."""
        with self.requests_lock:
            if self.requests:
                return
            if self._drain_deadline is not None:
                self.will_close |= now > self._drain_deadline
                return
            request = self.request
            if request is None:
                is_new = self.last_activity == self.creation_time
                is_sending = bool(self.total_outbufs_len)
                limit = HEAD_SECONDS if is_new else STALL_SECONDS if is_sending else IDLE_SECONDS
                self.will_close |= now - self.last_activity > limit
                return
            age, received = now - self._request_started, request.body_bytes_received
            if not request.headers_finished:
                is_late = age > HEAD_SECONDS
            else:
                is_slow = age > STALL_SECONDS + received / MIN_BODY_BYTES_PER_SECOND
                is_late = is_slow or now - self.last_activity > STALL_SECONDS
            if is_late:
                self.refuse(HTTPStatus.REQUEST_TIMEOUT)

    def refuse(self, status: HTTPStatus) -> None:
        """Refuse the request that is received."""
        request = self.request
        if request is not None:
            request.refuse(Refusal(status))
            self.requests.append(request)
            self.request = None
            self.server.add_task(self)

    @property
    def started_body(self) -> float | None:
        """When the request began whose body is received; None if there is none to refuse."""
        request = self.request
        if self.requests:  # an earlier one is in work, and a thread has the connection
            return None
        has_body = request is not None and request.headers_finished and not request.completed
        return self._request_started if has_body else None

    @property
    def is_idle(self) -> bool:
        """Whether the client has sent nothing, or a part of the headers."""
        is_waiting = self.request is None or not self.request.headers_finished
        return is_waiting and not self.is_busy

    @property
    def received_bytes(self) -> int:
        """Bytes of the bodies that are received, or in work."""
        # Without the lock, which the caller may hold: other threads only take requests away.
        requests = [*self.requests, self.request]
        return sum(request.body_bytes_received for request in requests if request)

    @property
    def is_busy(self) -> bool:
        """Whether a request is in work, or its answer is not sent yet."""
        return bool(self.requests or self.total_outbufs_len)


class HTTPServer(TcpWSGIServer):
    """Serves an app on a listening socket, until a signal."""

    channel_class = Channel
    accepting: bool

    def __init__(
        self,
        app: "WSGIApplication",
        listening: socket.socket,
        *,
        threads: int,
        find_body_limit: Callable[[str], int],
        max_received_bytes: int,
    ) -> None:
        adjustments = Adjustments(
            sockets=[listening],
            threads=threads,
            ident="",
            connection_limit=MAX_CONNECTIONS,
            cleanup_interval=1,
            asyncore_use_poll=True,
            channel_request_lookahead=1,  # notices clients that have gone
            max_request_header_size=MAX_HEAD_BYTES,
            max_request_body_size=UNLIMITED_BYTES,  # `find_refusal` has the limits
            recv_bytes=RECEIVE_BYTES,
            inbuf_overflow=UNLIMITED_BYTES,  # texts are never buffered in a file
            outbuf_overflow=UNLIMITED_BYTES,
            outbuf_high_watermark=UNLIMITED_BYTES,  # or a slow reader holds a thread
            log_socket_errors=False,
            clear_untrusted_proxy_headers=False,  # the app decides what to believe
        )
        adjustments.socket_options = [
            *adjustments.socket_options,
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        ]
        info = (listening.family, listening.type, listening.proto, listening.getsockname())
        super().__init__(
            app, {}, _sock=listening, adj=adjustments, sockinfo=info, bind_socket=False
        )
        self._find_body_limit, self._max_received_bytes = find_body_limit, max_received_bytes
        self._stop_deadline: float | None = None

    def find_refusal(self, request: RequestParser, before: int) -> Refusal | None:
        """Refuse a request because of its body, of which `before` bytes were received before."""
        announced = getattr(request.body_rcv, "chunk_remainder", 0)
        length = max(request.content_length, request.body_bytes_received + announced)
        if length > (limit := self._find_body_limit(request.path)):
            return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, limit)
        # The sum is taken once in a while only.
        if before // SUM_BYTES == request.body_bytes_received // SUM_BYTES:
            return None
        channels = [*self.active_channels.values()]
        if sum(channel.received_bytes for channel in channels) <= self._max_received_bytes:
            return None
        # The oldest goes, so that slow clients cannot keep the memory from others.
        oldest = min(
            (channel for channel in channels if channel.started_body is not None),
            key=lambda channel: channel.started_body or 0.0,
            default=None,
        )
        if oldest is None or oldest.request is request:
            return Refusal(HTTPStatus.SERVICE_UNAVAILABLE)
        oldest.refuse(HTTPStatus.SERVICE_UNAVAILABLE)
        return None

    def maintenance(self, now: float) -> None:
        """Check the deadlines of all connections; waitress calls this every second."""
        channels = [*self.active_channels.values()]
        for channel in channels:
            channel.check_deadlines(now)
        # Before no connection is left, those go that have sent nothing for the longest time.
        idle = [channel for channel in channels if channel.is_idle]
        idle.sort(key=lambda channel: channel.last_activity)
        for channel in idle[: max(0, len(channels) - MAX_KEPT_CONNECTIONS)]:
            channel.will_close = True

    def run_until_signal(self) -> None:
        """Serve until SIGTERM or SIGINT, then finish the requests in work; a second one ends it."""
        for number in signal.SIGTERM, signal.SIGINT:
            signal.signal(number, lambda *_: self._stop())
        while not self._is_stopped():
            wasyncore.loop(timeout=1.0, use_poll=True, map=self._map, count=1)

    def _stop(self) -> None:
        is_first = self._stop_deadline is None
        self._stop_deadline = time.monotonic() + (STOP_SECONDS if is_first else 0.0)
        self.pull_trigger()

    def _is_stopped(self) -> bool:
        if self._stop_deadline is None:
            return False
        if self.accepting:
            self.accepting = False
            self.del_channel()
            self.socket.close()
        channels = [*self.active_channels.values()]
        is_late = time.monotonic() > self._stop_deadline
        return is_late or not any(channel.is_busy for channel in channels)


def listen(host: str, port: int) -> socket.socket:
    """Bind and listen; port 0 is any free port. Raises OSError if that is impossible."""
    family, *_, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return socket.create_server(address, family=family, backlog=2048)
