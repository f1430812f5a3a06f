"""Runs the server: one process with threads.

One process, because each would load the weights again and count its own requests. Threads, because
the work releases Python's lock, and `/health` must be answered meanwhile.
"""

import errno
import logging
import socket
import sys
import time
from functools import partial
from typing import TextIO

from flask import Flask, Response, g

from tagalong.backend.processes.limited_log import limit_log
from tagalong.backend.server.app import create_app, describe_route
from tagalong.backend.server.http_server import HTTPServer, listen
from tagalong.backend.server.request_checks import find_body_limit
from tagalong.backend.server.service import Service
from tagalong.backend.server.settings import Settings
from tagalong.ner.errors import ServerError

ACCESS_LOG = logging.getLogger("tagalong.access")
EXTRA_THREADS = 8  # beside those that predict: for health, setup, webhooks and the page


def check_listen_address(host: str, port: int) -> None:
    """Raise `ServerError` unless the server can listen there; port 0 is any free port."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as `listen` does
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ServerError(
                f"port {port} of {host} is in use by another program: stop that program, or give "
                "another --port",
                code="port-in-use",
            ) from error
        raise ServerError(
            f"the server cannot listen on {host}:{port} ({error.strerror or error}): give a --host "
            "of this machine, and a --port above 1023",
            code="address-unusable",
        ) from error


def serve(settings: Settings, *, host: str, port: int, access_log: bool = False) -> None:
    """Serve until a signal stops the process.

    The access log has method, route, status, size and time of every request. The log of the whole
    process is limited, so that it quotes no text and no secret.
    """
    limit_log()
    logging.getLogger("waitress").setLevel(logging.ERROR)
    listening = listen(host, port)
    app = create_app(settings)
    service: Service = app.extensions["tagalong"]
    if access_log:
        add_access_log(app, sys.stdout)
    threads = settings.limits.max_concurrent_requests + EXTRA_THREADS
    try:
        HTTPServer(
            app,
            listening,
            threads=threads,
            find_body_limit=partial(find_body_limit, limits=settings.limits),
            max_received_bytes=settings.limits.max_total_body_bytes,
        ).run_until_signal()
    finally:
        service.close()


def add_access_log(app: Flask, stream: TextIO) -> None:
    """Write a line for each request to a stream; a line that cannot be written is lost."""
    ACCESS_LOG.addHandler(logging.StreamHandler(stream))
    ACCESS_LOG.setLevel(logging.INFO)
    ACCESS_LOG.propagate = False

    @app.after_request
    def log_access(response: Response) -> Response:
        milliseconds = (time.perf_counter() - g.started) * 1_000
        size = response.calculate_content_length()
        route, status = describe_route(), response.status_code
        ACCESS_LOG.info("%s %d %s bytes %.0f ms", route, status, size, milliseconds)
        return response
