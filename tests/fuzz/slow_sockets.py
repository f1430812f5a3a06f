"""Slow clients: 40 of each kind hold connections, and `/health` is answered all the time."""

import json
import select
import socket
import time
from contextlib import ExitStack

from tests.backend.server.app_client import request_for
from tests.fuzz.server import HEADERS, TEXT_MARKER, Server, ask_health, read_answer

SOCKETS_OF_A_KIND = 40
MAX_HEALTH_SECONDS = 1.0
DEADLINE_SECONDS = 60.0  # in which the server ends all of them: 10 s for a head, 30 s for the rest
HEAD = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
POST = f"POST /predict HTTP/1.1\r\n{HEAD}"
# Mentions in a text whose answer is not read. Linux buffers up to 4 MiB of an answer.
FEW_MENTIONS, MANY_MENTIONS = 1_500, 30_000  # answers of 0.3 and 5.4 MB
UNREAD = "an answer that is not read"
KINDS = {
    "one byte": "G",
    "half a head": f"GET /health HTTP/1.1\r\n{HEAD}",
    "half a body": f'{POST}Content-Length: 999\r\n\r\n{{"tasks": "{TEXT_MARKER}',
    "half a chunk": f'{POST}Transfer-Encoding: chunked\r\n\r\nff\r\n{{"tasks": "{TEXT_MARKER}',
    UNREAD: "",  # depends on the mentions
}


def run_slow_sockets(
    server: Server, *, seconds: float, until_end: bool = False
) -> tuple[list[str], float]:
    """Hold all sockets, and ask for `/health`; returns faults and the slowest answer in seconds.

    With `until_end`, wait until the server has ended them all.
    """
    faults, slowest = [], 0.0
    mentions = MANY_MENTIONS if until_end else FEW_MENTIONS
    body = json.dumps(request_for(f"{TEXT_MARKER} {'naloxone ' * mentions}"))
    unread = f"{POST}Content-Length: {len(body)}\r\n\r\n{body}"
    with ExitStack() as stack:
        sockets: list[tuple[str, socket.socket]] = []
        for kind, start in KINDS.items():
            content = start or unread
            for _ in range(SOCKETS_OF_A_KIND):
                connection = stack.enter_context(connect(server))
                connection.sendall(content.encode())
                sockets.append((kind, connection))
                if kind == UNREAD:
                    select.select([connection], [], [], DEADLINE_SECONDS)
                    slowest = max(slowest, time_health(server))
            slowest = max(slowest, time_health(server))
        end = time.monotonic() + (DEADLINE_SECONDS if until_end else seconds)
        while time.monotonic() < end:
            slowest = max(slowest, time_health(server))
            time.sleep(0.05)
        if until_end:
            faults += [fault for one in sockets if (fault := find_end_fault(*one))]
    if slowest > MAX_HEALTH_SECONDS:
        faults.append(f"/health took {slowest:.2f} s beside slow sockets")
    return faults, slowest


def connect(server: Server) -> socket.socket:
    """Connect with a small buffer, so that the server keeps most of a large answer."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    connection.settimeout(DEADLINE_SECONDS)
    connection.connect(("127.0.0.1", server.port))
    return connection


def time_health(server: Server) -> float:
    """Seconds until `/health` is answered on a new connection."""
    start = time.monotonic()
    ask_health(server)
    return time.monotonic() - start


def find_end_fault(kind: str, connection: socket.socket) -> str | None:
    """What is wrong with the end of a slow connection."""
    connection.settimeout(1.0)
    try:
        answer, _ = read_answer(connection)
        status = answer.status if answer else None
        is_cut = answer is not None and len(answer.body) < int(answer.headers["content-length"])
        while connection.recv(65_536):
            pass
    except ConnectionError:
        return None
    except TimeoutError:
        return f"{kind}: still open after {DEADLINE_SECONDS:.0f} s"
    is_right = is_cut if kind == UNREAD else status in (None, 408)
    return None if is_right else f"{kind}: ended with {status}"
