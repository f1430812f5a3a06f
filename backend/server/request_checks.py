"""Checks every request before its route: host, origin, and the size of its JSON body.

A page of another site can make a browser send a request to this server. With a name whose address
it changes (DNS rebinding), it can also read the answer. Label Studio and programs send neither
``Origin`` nor ``Sec-Fetch-Site``.

Parsing a body of nothing but ``[]`` takes 50 times its size. `json.loads` holds Python's lock all
that time, so nobody gets an answer. So bodies of many values are parsed in pieces.
"""

import ctypes
import io
import ipaddress
import json
import re
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import ijson
from flask import g, request
from ijson.common import ObjectBuilder
from werkzeug.exceptions import RequestEntityTooLarge

from tagalong.backend.server.prediction.request import (
    Limits,
    RequestError,
    request_too_large,
    service_unavailable,
    unprocessable_request,
)

HOST_PATTERN = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
# A container calls its host by these. The domain ``internal`` is not in the public DNS.
CONTAINER_HOST_NAMES = frozenset({"host.docker.internal", "host.containers.internal"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SMALL_BODY_BYTES = 2**20  # the limit of routes that take no tasks and no events
PIECE_BYTES = 2**16
MAX_VALUES_AT_ONCE = 200_000  # `json.loads` holds the lock for 0.1 s
MAX_BODIES_IN_PIECES = 4  # parsed or waiting; each holds a thread, and one takes seconds
MAX_DEPTH = 500
MAX_KEPT_BYTES = 2**18  # of a body, so that a request of an annotator never waits 0.03 s
BYTES_PER_VALUE = 100  # in memory, estimated
FREE_VALUES = 20_000  # of one body, not counted in the budget
# To the end of the body if it lacks the closing quote, so that matching takes linear time.
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
# An escaped half of a surrogate pair. `json` keeps it, and ijson's parser replaces it.
LONE_SURROGATE = re.compile(
    rb"\\u[Dd][89ABab][0-9A-Fa-f]{2}(?!\\u[Dd][C-Fc-f])"
    rb"|(?<!\\u[Dd][89ABab][0-9A-Fa-f]{2})\\u[Dd][C-Fc-f]"
)


def is_loopback(host: str) -> bool:
    """Whether a name or an address, such as ``::1``, is that of the machine itself."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def check_host(server_names: Collection[str] | None) -> None:
    """Refuse a request for another host than this machine or `server_names`; None allows all.

    A browser always sends the header; a program of HTTP/1.0 may leave it out.
    """
    header = request.headers.get("Host")
    if server_names is None or header is None:
        return
    match = HOST_PATTERN.fullmatch(header)
    name = match[1].strip("[]").lower().removesuffix(".") if match else ""
    if not (is_loopback(name) or name in CONTAINER_HOST_NAMES or name in server_names):
        raise RequestError(
            HTTPStatus.MISDIRECTED_REQUEST,
            "the server does not serve the host of this URL: call it by a loopback name such as "
            "localhost, or start it with that host in --server-names",
            code="host-not-served",
        )


def check_same_origin() -> None:
    """Refuse a change that a page of another site asks for.

    The algorithm of Go's ``http.CrossOriginProtection``. Behind a proxy that replaces ``Host``,
    ``Sec-Fetch-Site`` decides alone; no page can set it, nor ``X-Forwarded-Host``.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if request.method in SAFE_METHODS or site == "same-origin":
        return
    origin = request.headers.get("Origin")
    own_hosts = {request.headers.get("Host"), request.headers.get("X-Forwarded-Host")} - {None}
    if site not in (None, "none") or (origin is not None and _netloc(origin) not in own_hosts):
        raise RequestError(
            HTTPStatus.FORBIDDEN,
            "a page of another site sent this request: send it from a program or from a page of "
            "this server",
            code="cross-site-request",
        )


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _too_much_data() -> RequestError:
    return service_unavailable(
        "requests in work or waiting hold as much data as the server takes at once: try again in a "
        "moment, or select fewer tasks at once",
        code="too-much-data",
    )


class BodyBudget:
    """Memory for the bodies of all requests in work. A small body is not counted."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._reserved, self._lock = max_bytes, 0, threading.Lock()
        self._parsing = threading.Lock()  # one body in pieces at a time: each slows all threads
        self._bodies_in_pieces = threading.BoundedSemaphore(MAX_BODIES_IN_PIECES)

    def reserve(self, size: int) -> None:
        """Reserve bytes for the current request, until `release`; 503 if too few are free."""
        with self._lock:
            if self._reserved + size > self._max_bytes:
                raise _too_much_data()
            self._reserved += size
            g.reserved_bytes = g.get("reserved_bytes", 0) + size

    @contextmanager
    def take_turn_in_pieces(self) -> Iterator[None]:
        """Wait until no other body is parsed in pieces; 503 if several wait already."""
        if not self._bodies_in_pieces.acquire(blocking=False):
            raise _too_much_data()
        try:
            with self._parsing:
                yield
        finally:
            self._bodies_in_pieces.release()

    def release(self) -> None:
        """Release what the current request has reserved, and return its memory to the system."""
        size = g.pop("reserved_bytes", 0)
        with self._lock:
            self._reserved -= size
        if size + (request.content_length or 0) > MAX_KEPT_BYTES:
            with suppress(AttributeError):  # only glibc keeps freed memory for each thread
                ctypes.CDLL(None).malloc_trim(0)


def find_body_limit(path: str, limits: Limits) -> int:
    """The most bytes that the body of a request for this path may have."""
    return {
        "predict": limits.max_body_bytes,
        "webhook": limits.max_event_bytes,
    }.get(path.rpartition("/")[2], min(SMALL_BODY_BYTES, limits.max_body_bytes))


def set_body_limit(limits: Limits) -> None:
    """Limit the body of the current request by its route; 413 if its length is known and above."""
    limit = find_body_limit(request.path, limits)
    request.max_content_length = limit
    if (request.content_length or 0) > limit:
        raise RequestEntityTooLarge


def read_json_body(budget: BodyBudget, limits: Limits) -> Mapping[str, Any]:
    """Read and parse the body of the current request; `RequestError` unless it is an object."""
    content = _read_content(budget)
    try:
        body = _parse_json(content, budget, limits)
    except (ValueError, ArithmeticError, RecursionError, ijson.JSONError) as error:
        raise RequestError(
            HTTPStatus.BAD_REQUEST,
            "the body is not JSON: send it as Label Studio does",
            code="body-not-json",
        ) from error
    if not isinstance(body, dict):
        message = "the body is JSON, but not an object: send it as Label Studio does"
        raise unprocessable_request(message, code="body-not-object")
    return body


def _read_content(budget: BodyBudget) -> bytearray:
    content, max_bytes = bytearray(), request.max_content_length
    # Reserved as it arrives: a client that announces much and sends little takes little.
    while piece := request.stream.read(PIECE_BYTES):
        content += piece
        if len(content) > SMALL_BODY_BYTES:
            budget.reserve(len(piece))
    if request.content_length is None and max_bytes is not None and len(content) >= max_bytes:
        raise RequestEntityTooLarge  # Werkzeug silently cuts a chunked body at the limit
    return content


def _parse_json(content: bytearray, budget: BodyBudget, limits: Limits) -> object:
    most_values = _count_values(content)
    if most_values > MAX_VALUES_AT_ONCE and content.count(b'"') <= 2 * MAX_VALUES_AT_ONCE:
        most_values = _count_values(STRING.sub(b"", content))  # without commas of long texts
    if most_values > MAX_VALUES_AT_ONCE:
        with budget.take_turn_in_pieces():
            return _parse_in_pieces(content, budget, limits)
    if most_values > FREE_VALUES:
        budget.reserve(most_values * BYTES_PER_VALUE)
    return json.loads(content)


def _count_values(content: bytes | bytearray) -> int:
    """Count what every value of JSON but the first follows; also within texts."""
    return 1 + sum(map(content.count, (b",", b"[", b"{")))


def _parse_in_pieces(content: bytearray, budget: BodyBudget, limits: Limits) -> object:
    """Parse JSON with ijson, which lets other threads run in between."""
    builder, values, depth = ObjectBuilder(), 0, 0
    for event, value in ijson.basic_parse(io.BytesIO(content)):
        if event.startswith("end_"):
            depth -= 1
        elif event != "map_key":
            values += 1
            depth += event.startswith("start_")
            if depth > MAX_DEPTH:
                raise ValueError("nested too deeply")
            if values > limits.max_values:
                raise request_too_large(
                    f"the request has more than {limits.max_values:,} JSON values: select fewer "
                    "tasks",
                    code="too-many-values",
                )
            if values % FREE_VALUES == 0:
                budget.reserve(FREE_VALUES * BYTES_PER_VALUE)
        is_decimal = event == "number" and not isinstance(value, int)
        builder.event(event, float(value) if is_decimal else value)
    if LONE_SURROGATE.search(content):
        return json.loads(content)
    return builder.value
