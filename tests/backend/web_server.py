"""A web server of the tests' own, on a free port, that answers in all the ways servers do."""

import gzip
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6
from threading import Thread


@dataclass(frozen=True, slots=True)
class Page:
    """What is at a path."""

    content: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None  # said instead of the true one
    write: Callable[[BaseHTTPRequestHandler], None] | None = None  # instead of all that


class WebServer(ThreadingHTTPServer):
    """Pages by path, and what was asked for."""

    def __init__(self, address: tuple[str, int], pages: dict[str, Page]) -> None:
        self.address_family = AF_INET6 if ":" in address[0] else AF_INET
        super().__init__(address, Handler)
        self.pages = pages
        self.requests: list[tuple[str, dict[str, str]]] = []

    @property
    def host(self) -> str:
        name, port = self.server_address[:2]
        return f"[{name}]:{port}" if ":" in str(name) else f"{name}:{port}"

    def handle_error(self, *_: object) -> None:
        """Clients that hang up are part of the tests."""


class Handler(BaseHTTPRequestHandler):
    server: WebServer

    def do_GET(self) -> None:
        self.server.requests.append((self.path, dict(self.headers)))
        page = self.server.pages.get(self.path, Page(status=404))
        if page.write is not None:
            page.write(self)
            return
        self.send_response(page.status)
        content_length = len(page.content) if page.length is None else page.length
        for name, value in {"Content-Length": str(content_length), **page.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(page.content)

    def log_message(self, *_: object) -> None:
        """Be silent."""


@contextmanager
def serve_pages(
    pages: dict[str, Page], *, name: str = "127.0.0.1", pem: str = ""
) -> Iterator[WebServer]:
    """Serve pages as long as the block lasts."""
    with WebServer((name, 0), pages) as web:
        if pem:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pem)
            web.socket = context.wrap_socket(web.socket, server_side=True)
        thread = Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield web
        finally:
            web.shutdown()
            thread.join()


def gzip_page(content: bytes) -> Page:
    return Page(gzip.compress(content), headers={"Content-Encoding": "gzip"})


def chunked_page(content: bytes, *, whole: bool = True) -> Page:
    def write(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(content), content) + b"0\r\n\r\n" * whole)
        handler.close_connection = True

    return Page(write=write)


def endless_page(start: bytes) -> Page:
    """A start, and then a byte every now and then, without end."""

    def write(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(start)
        while True:
            handler.wfile.write(b"x")
            time.sleep(0.02)

    return Page(write=write)


def cut_off_page(start: bytes) -> Page:
    def write(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(start)
        handler.close_connection = True

    return Page(write=write)
