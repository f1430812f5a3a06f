"""The HTTP server over real sockets: slow, malformed and vanished clients."""

import json
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from flask import Flask, request
from waitress.adjustments import Adjustments

from tagalong.backend.server import http_server
from tagalong.backend.server.http_server import HTTPServer, RequestParser
from tests.backend.server.wsgi_server import serve_wsgi
from tests.errors import assert_wording

MAX_BODY_BYTES, MAX_RECEIVED_BYTES = 3_000_000, 5_000_000
THREADS = 2
LARGE_ANSWER = b"x" * 30_000_000  # more than sockets hold
SECRET = "PATIENT-John-Doe"
POST = b"POST /echo HTTP/1.1\r\nHost: x\r\n"
UNFINISHED = {
    "nothing": b"",
    "one byte": b"G",
    "half a head": b"GET /health HTTP/1.1\r\nHost: x\r\n",
    "half a body": POST + b"Content-Length: 100\r\n\r\nhalf",
    "half a chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n64\r\nhalf",
}
CODING = "Transfer-Encoding: chunked\r\n"
CHUNKED = f"POST /echo HTTP/1.1\r\nHost: x\r\n{CODING}\r\n"
KEPT = "Connection: keep-alive\r\n"
BLANKS = " \t" * 50
SMUGGLED = f"GET /health?{SECRET} HTTP/1.1\r\nHost: x\r\n\r\n"
MALFORMED = {
    "no method": f"{SECRET}\r\n\r\n",
    "no version": f"GET /{SECRET} HTTP/x\r\n\r\n",
    "lower method": f"get{SECRET} / HTTP/1.1\r\n\r\n",
    "header without a colon": f"GET / HTTP/1.1\r\nX-Tagalong-Secret {SECRET}\r\n\r\n",
    "folded first header": f"GET / HTTP/1.1\r\n {SECRET}\r\n\r\n",
    "bare return": f"GET / HTTP/1.1\r\nHost: {SECRET}\rx\r\n\r\n",
    "length of words": f"POST /echo HTTP/1.1\r\nContent-Length: {SECRET}\r\n\r\n",
    "two lengths": f"POST /echo HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{SECRET}",
    "length of 5,000 digits": f"POST /echo HTTP/1.1\r\nContent-Length: {'9' * 5000}\r\n\r\n",
    "negative length": f"POST /echo HTTP/1.1\r\nContent-Length: -1\r\n\r\n{SECRET}",
    "chunk size of words": f"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{SECRET}\r\n",
    "chunk without an end": "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    f"1\r\n{SECRET}\r\n",
    "chunk size before a line feed": f"{CHUNKED}0\n\r\n\r\n{SMUGGLED}",
    "chunk extension before a line feed": f"{CHUNKED}0;a\n\r\n\r\n{SMUGGLED}",
    "length and chunks": f"{CHUNKED[:-2]}Content-Length: 5\r\n\r\n0\r\n\r\n{SMUGGLED}",
    "chunks twice": f"{CHUNKED[:-2]}{CODING}\r\n0\r\n\r\n{SMUGGLED}",
    "chunked twice": f"POST /echo HTTP/1.1\r\nHost: x\r\n{CODING[:-2]}, chunked\r\n\r\n0\r\n\r\n",
    "empty coding": "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n\r\n",
    "folded coding": "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n chunked\r\n\r\n",
    "folded header": f"GET /health HTTP/1.1\r\nHost: x\r\nX: y\r\n {SECRET}\r\n\r\n",
    "chunks in HTTP/1.0": f"POST /echo HTTP/1.0\r\n{KEPT}{CODING}\r\n{SMUGGLED}",
    "chunks in HTTP/1.2": f"POST /echo HTTP/1.2\r\nHost: x\r\n{KEPT}{CODING}\r\n{SMUGGLED}",
    "HTTP/2.0": "GET /health HTTP/2.0\r\nHost: x\r\n\r\n",
    "no version number": "GET /health\r\nHost: x\r\n\r\n",
    "no host": "GET /health HTTP/1.1\r\n\r\n",
    "two hosts": "GET /health HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
    "another host in the target": "GET http://y/health HTTP/1.1\r\nHost: x\r\n\r\n",
    "target without a slash": "GET health HTTP/1.1\r\nHost: x\r\n\r\n",
    "empty target": "GET ? HTTP/1.1\r\nHost: x\r\n\r\n",
    "tab in the target": "GET /hea\tlth HTTP/1.1\r\nHost: x\r\n\r\n",
    "run of blanks": f"GET /health HTTP/1.1\r\nHost: x\r\nX:{' ' * 5000}{SECRET}\r\n\r\n",
    "run of blanks and tabs": f"GET /health HTTP/1.1\r\nHost: x\r\nX: a{BLANKS}b\r\n\r\n",
    "expected body without a number": "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
    f"Content-Length: {SECRET}\r\n\r\n",
    "announced chunk above the limit": f"{CHUNKED}7fffffffffffffff\r\n",
    "endless chunk size": f"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{'0' * 5000}",
}


def make_app() -> Flask:
    app = Flask(__name__)
    app.add_url_rule("/health", view_func=lambda: "up")

    @app.post("/echo")
    def echo() -> bytes:
        return request.get_data()

    @app.get("/large")
    def answer_much() -> bytes:
        return LARGE_ANSWER

    @app.get("/wait")
    def wait_for_release() -> str:
        started.set()
        return str(released.wait(30))

    @app.get("/gone")
    def wait_until_gone() -> str:
        started.set()
        while not request.environ["waitress.client_disconnected"]():
            time.sleep(0.01)
        noticed.set()
        return ""

    return app


started, released, noticed = threading.Event(), threading.Event(), threading.Event()


@contextmanager
def serve_http(on_start: Callable[[HTTPServer], None] = lambda _: None) -> Iterator[int]:
    """Serve the app in a thread; yields the port."""
    with serve_wsgi(
        make_app(),
        on_start=on_start,
        threads=THREADS,
        find_body_limit=lambda path: MAX_BODY_BYTES,
        max_received_bytes=MAX_RECEIVED_BYTES,
    ) as port:
        yield port


def send(port: int, content: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.sendall(content)
    return connection


def read_all(connection: socket.socket) -> bytes:
    """All bytes until the server closes."""
    with connection:
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def wait_for_bodies(server: HTTPServer, size: int) -> None:
    """Wait until the server holds bodies of at least this size."""
    deadline = time.monotonic() + 30
    while sum(one.received_bytes for one in [*server.active_channels.values()]) < size:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def answer(connection: socket.socket) -> tuple[int, dict[str, str]]:
    """Status and JSON of an answer after which the server closes."""
    head, _, body = read_all(connection).partition(b"\r\n\r\n")
    status = int(head.split()[1])
    assert (b"\r\nRetry-After: " in head) == (status == 503)
    return status, json.loads(body)


def test_unfinished_requests_hold_up_nobody() -> None:
    with serve_http() as port, ExitStack() as connections:
        for content in UNFINISHED.values():
            for _ in range(40):
                connections.enter_context(send(port, content))
        assert httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).text == "up"
        echoed = httpx.post(f"http://127.0.0.1:{port}/echo", content=b"x" * 50_000, timeout=5)
        assert echoed.content == b"x" * 50_000


@pytest.mark.parametrize("kind", UNFINISHED)
def test_late_requests_are_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(http_server, "STALL_SECONDS", 0.5)
    with serve_http() as port:
        connection = send(port, UNFINISHED[kind])
        if kind == "nothing":
            assert read_all(connection) == b""
            return
        status, body = answer(connection)
        assert (status, body["code"]) == (408, "request-too-slow")
        assert_wording(body["error"], body["code"])


def test_bodies_that_trickle_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "STALL_SECONDS", 1.0)
    with serve_http() as port:
        connection = send(port, POST + b"Content-Length: 1000\r\n\r\n")
        connection.settimeout(0.1)
        received = b""
        while not received:  # a byte at a time, never a second without one
            connection.sendall(b"x")
            try:
                received = connection.recv(65_536)
            except TimeoutError:
                continue
        assert received.startswith((b"HTTP/1.0 408 ", b"HTTP/1.1 408 "))
        connection.close()


@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed_requests_get_a_fixed_answer(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    with serve_http() as port:
        status, body = answer(send(port, MALFORMED[kind].encode()))
    assert status in {400, 413, 501}
    assert_wording(body["error"], body["code"])
    assert SECRET not in json.dumps(body) + caplog.text


def test_malformed_request_ends_its_connection() -> None:
    with serve_http() as port:
        status, body = answer(send(port, f"{SECRET}\r\n\r\n{SMUGGLED}".encode() * 1_000))
    assert (status, body["code"]) == (400, "request-malformed")


def test_many_requests_in_few_bytes_are_parsed_at_once() -> None:
    """Each of waitress's steps copies the bytes that remain."""
    for content in (b"\r\n" * 4_000, b"x\r\n\r\n" * 1_000):
        parser = RequestParser(Adjustments(), server=None)  # type: ignore[arg-type]
        assert parser.received(content) == len(content)
        assert parser.completed
    with serve_http() as port:
        kept = send(port, b"\r\n" * 4_000 + b"GET /health HTTP/1.0\r\n\r\n")
        assert read_all(kept).endswith(b"\r\n\r\nup")


def test_expectation_without_a_body_is_answered_at_once() -> None:
    expecting = b"GET /health HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
    with serve_http() as port:
        assert read_all(send(port, expecting + b"Connection: close\r\n\r\n")).endswith(b"up")


def test_large_bodies_are_refused_though_they_are_still_sent() -> None:
    with serve_http() as port:
        for head in (
            b"Content-Length: 9000000\r\n\r\n",
            b"Transfer-Encoding: chunked\r\n\r\n896540\r\n",
        ):
            connection = send(port, POST + head)
            connection.sendall(b"x" * 9_000_000)
            status, body = answer(connection)
            assert (status, body["code"]) == (413, "body-too-large")


def test_clients_that_have_gone_are_noticed() -> None:
    started.clear()
    noticed.clear()
    with serve_http() as port:
        connection = send(port, b"GET /gone HTTP/1.1\r\nHost: x\r\n\r\n")
        assert started.wait(30)
        connection.close()
        assert noticed.wait(30)


def test_slow_bodies_cannot_keep_the_memory_from_others() -> None:
    slow = POST + b"Content-Length: 3000000\r\n\r\n" + bytes(2_400_000)
    whole = POST + b"Connection: close\r\nContent-Length: 2900000\r\n\r\n" + bytes(2_900_000)
    servers: list[HTTPServer] = []
    with serve_http(servers.append) as port, ExitStack() as stack:
        connections = []
        for number in range(1, 3):
            connections.append(stack.enter_context(send(port, slow)))
            wait_for_bodies(servers[0], number * 2_400_000)
        assert read_all(send(port, whole)).startswith(b"HTTP/1.1 200")
        status, body = answer(connections[0])
        assert (status, body["code"]) == (503, "too-much-data")


def test_body_behind_a_request_in_work_is_not_refused() -> None:
    started.clear()
    released.clear()
    waiting = b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n"
    slow = POST + b"Connection: close\r\nContent-Length: 3000000\r\n\r\n" + bytes(2_400_000)
    servers: list[HTTPServer] = []
    with serve_http(servers.append) as port, ExitStack() as stack:
        first = stack.enter_context(send(port, waiting + slow))
        assert started.wait(30)
        wait_for_bodies(servers[0], 2_400_000)
        second = stack.enter_context(send(port, slow))
        wait_for_bodies(servers[0], 4_800_000)
        third = stack.enter_context(send(port, slow))
        status, body = answer(second)  # the older one of those that may be refused
        assert (status, body["code"]) == (503, "too-much-data")
        wait_for_bodies(servers[0], 4_800_000)
        released.set()
        for connection in first, third:
            connection.sendall(bytes(600_000))
        assert read_all(first).count(b"HTTP/1.1 200") == 2
        assert read_all(third).startswith(b"HTTP/1.1 200")


def test_late_reader_gets_all_answers() -> None:
    size = 2_900_000  # more than the socket takes at once
    echo = POST + f"Content-Length: {size}\r\n\r\n".encode() + b"x" * size
    close = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with serve_http() as port:
        connection = send(port, echo + close)
        time.sleep(1.0)  # meanwhile nothing of the answer is read
        content = read_all(connection)
        assert content.count(b"HTTP/1.1 200") == 2
        assert content.count(b"x" * size) == 1


def test_answer_is_sent_while_the_next_request_is_in_work() -> None:
    started.clear()
    released.clear()
    requests = [f"GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in ("large", "wait")]
    with serve_http() as port, send(port, b"".join(requests)) as connection:
        assert started.wait(30)  # the first answer is sent in part only
        connection.settimeout(10)
        received = 0
        while received < len(LARGE_ANSWER):
            received += len(connection.recv(2**20))
        released.set()


def test_idle_connections_are_closed_before_none_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "MAX_KEPT_CONNECTIONS", 5)
    kept = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    with serve_http() as port, ExitStack() as stack:
        connections = []
        for content in (kept, b"GET /he"):
            for _ in range(5):
                connections.append(stack.enter_context(send(port, content)))
                time.sleep(0.02)
        for connection in connections[:5]:  # the oldest
            while connection.recv(1000):
                pass
        connections[-1].sendall(kept.removeprefix(b"GET /he"))
        assert connections[-1].recv(1000).startswith(b"HTTP/1.1 200")


def test_bodies_of_all_connections_are_limited() -> None:
    part = POST + b"Content-Length: 3000000\r\n\r\n" + bytes(2_500_000)
    with serve_http() as port, ExitStack() as stack:
        connections = [stack.enter_context(send(port, part)) for _ in range(3)]
        refused, _, _ = select.select(connections, [], [], 30)  # whichever was received last
        status, body = answer(refused[0])
        assert (status, body["code"]) == (503, "too-much-data")
        assert_wording(body["error"], body["code"])
        assert httpx.get(f"http://127.0.0.1:{port}/health", timeout=30).text == "up"
