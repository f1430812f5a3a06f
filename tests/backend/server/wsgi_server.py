"""The HTTP server in a thread of the test."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from waitress import wasyncore

from tagalong.backend.server.http_server import HTTPServer, listen


@contextmanager
def serve_wsgi(
    app: Any, *, on_start: Callable[[HTTPServer], None] = lambda _: None, **options: Any
) -> Iterator[int]:
    """Serve an app with options of `HTTPServer`; yields the port."""
    listening = listen("127.0.0.1", 0)
    server = HTTPServer(app, listening, **options)
    on_start(server)
    port: int = listening.getsockname()[1]
    stopped = threading.Event()

    def run() -> None:
        while not stopped.is_set():
            wasyncore.loop(timeout=0.1, use_poll=True, map=server._map, count=1)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield port
    finally:
        stopped.set()
        thread.join()
        server.task_dispatcher.shutdown()
        wasyncore.close_all(server._map)
