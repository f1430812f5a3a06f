"""The HTTP server: waitress with deadlines, and fixed answers to malformed requests.

One thread receives all requests whole, and other threads answer them. So a slow client holds a
connection, but no thread.
"""

import json
import logging
import signal
import socket
import time
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.receiver import ChunkedReceiver
from waitress.server import TcpWSGIServer

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

HEAD_SECONDS = 10.0  # from the first byte of a request to the end of its headers
STALL_SECONDS = 30.0  # without a byte: of a body, of an answer, or between two requests
# A body of one byte now and then would hold its connection for ever.
MIN_BODY_BYTES_PER_SECOND = 1_000
MAX_HEAD_BYTES = 32_768
MAX_CHUNK_HEAD_BYTES = 1_024  # the size of a chunk with its extensions; also all trailers
MAX_CONNECTIONS = 1_000
DRAIN_SECONDS = 5.0  # to read what a refused client still sends: a reset would lose the answer
STOP_SECONDS = 25.0  # for requests in work when the server stops; containers are killed after 30
NEVER_TO_DISK_BYTES = 2**40  # requests and answers hold texts: never buffer them in a file
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
        "the request has more than {:,} bytes: select fewer tasks",
        "body-too-large",
    ),
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: (
        "the headers have more than {:,} bytes: send fewer",
        "headers-too-large",
    ),
    HTTPStatus.NOT_IMPLEMENTED: (
        "the transfer encoding is not supported: use chunked, or none",
        "transfer-encoding-unsupported",
    ),
}


class Refusal:
    """An answer to a request that never reaches the app; it quotes nothing that was sent."""

    def __init__(self, status: int, max_bytes: int = 0) -> None:
        self.code, self._max_bytes = HTTPStatus(status), max_bytes

    def to_response(self, _ident: str | None = None) -> tuple[str, list[tuple[str, str]], bytes]:
        """Status line, headers and body, as waitress sends them."""
        message, code = REFUSALS.get(self.code, INTERNAL_ERROR)
        body = json.dumps({"error": message.format(self._max_bytes), "code": code}).encode()
        headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
        return f"{self.code:d} {self.code.phrase}", headers, body


class RequestParser(HTTPRequestParser):
    """Receives one request."""

    error: Refusal | None
    completed: bool

    def received(self, data: bytes) -> int:
        """Take the next bytes; returns how many of them belong to this request."""
        consumed: int = super().received(data)
        body = self.body_rcv
        if isinstance(body, ChunkedReceiver):
            # waitress keeps lines without an end whole, and copies them with every byte.
            longest = max(len(body.control_line), len(body.trailer), len(body.chunk_end))
            if longest > MAX_CHUNK_HEAD_BYTES and not self.error:
                self.refuse(HTTPStatus.BAD_REQUEST)
        if self.error is not None:
            limits = {413: self.adj.max_request_body_size - 1, 431: MAX_HEAD_BYTES}
            # The library's message quotes the request.
            self.error = Refusal(self.error.code, limits.get(self.error.code, 0))
        return consumed

    def parse_header(self, header_plus: bytes) -> None:
        """Parse the request line and the headers; raises ParsingError if they are malformed."""
        try:
            super().parse_header(header_plus)
        except ValueError as error:  # a Content-Length of thousands of digits
            raise ParsingError("invalid") from error

    def refuse(self, status: HTTPStatus) -> None:
        """End the request with an error."""
        self.error, self.completed = Refusal(status), True


class Channel(HTTPChannel):
    """One connection."""

    parser_class = RequestParser
    request: RequestParser | None
    will_close: bool
    close_when_flushed: bool

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._request_started = self.creation_time
        self._has_refused = False
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
                if now - self.last_activity > (HEAD_SECONDS if is_new else STALL_SECONDS):
                    self.will_close = True
                return
            age, received = now - self._request_started, request.body_bytes_received
            if not request.headers_finished:
                is_late = age > HEAD_SECONDS
            else:
                is_slow = age > STALL_SECONDS + received / MIN_BODY_BYTES_PER_SECOND
                is_late = is_slow or now - self.last_activity > STALL_SECONDS
            if is_late:
                request.refuse(HTTPStatus.REQUEST_TIMEOUT)
                self.requests.append(request)
                self.request = None
                self.server.add_task(self)

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
        max_body_bytes: int,
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
            max_request_body_size=max_body_bytes + 1,
            inbuf_overflow=NEVER_TO_DISK_BYTES,
            outbuf_overflow=NEVER_TO_DISK_BYTES,
            outbuf_high_watermark=NEVER_TO_DISK_BYTES,  # or a slow reader holds a thread
            log_socket_errors=False,
            # A proxy on this machine tells whether it was asked by https.
            trusted_proxy="127.0.0.1",
            trusted_proxy_headers={"x-forwarded-proto"},
        )
        adjustments.socket_options = [
            *adjustments.socket_options,
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        ]
        info = (listening.family, listening.type, listening.proto, listening.getsockname())
        super().__init__(
            app, {}, _sock=listening, adj=adjustments, sockinfo=info, bind_socket=False
        )
        self._stop_deadline: float | None = None

    def maintenance(self, now: float) -> None:
        """Check the deadlines of all connections; waitress calls this every second."""
        for channel in [*self.active_channels.values()]:
            channel.check_deadlines(now)

    def run_until_signal(self) -> None:
        """Serve until SIGTERM or SIGINT, then finish the requests in work; a second one ends it."""
        for number in signal.SIGTERM, signal.SIGINT:
            signal.signal(number, lambda *_: self._stop())
        while not self._is_stopped():
            wasyncore.loop(timeout=1.0, use_poll=True, map=self._map, count=1)

    def _stop(self) -> None:
        self._stop_deadline = 0.0 if self._stop_deadline else time.monotonic() + STOP_SECONDS
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


def limit_log(logger: logging.Logger) -> None:
    """Make waitress log kinds of faults only: its messages quote requests and exceptions."""

    def keep_kind(record: logging.LogRecord) -> bool:
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else "a fault"
        record.msg = f"{kind} in the HTTP server, in {record.funcName}"
        record.args, record.exc_info, record.exc_text = None, None, None
        return record.levelno >= logging.ERROR

    logger.addFilter(keep_kind)


def listen(host: str, port: int) -> socket.socket:
    """Bind and listen; port 0 is any free port. Raises OSError if that is impossible."""
    family, *_, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return socket.create_server(address, family=family, backlog=2048)
