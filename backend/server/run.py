"""The server as a process: gunicorn with threads, one worker, and one loaded model per tier.

One worker, because each would load the weights again and count its own requests; threads, because
the work is done outside Python's lock, and `/health` must be answered while it is.
"""

import errno
import os
import socket
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication

from tagalong.backend.server.app import create_app
from tagalong.backend.server.settings import Settings
from tagalong.ner.errors import ServerError

EXTRA_THREADS = 8  # beyond those that predict: for health, setup, webhooks and the page
GRACEFUL_TIMEOUT_SECONDS = 30  # for requests in work when the server is told to stop
ACCESS_LOG_FORMAT = "%(m)s %(U)s %(s)s %(B)s bytes %(M)s ms"  # no query, no address, no user


class _GunicornApplication(BaseApplication):
    """Gunicorn with our options instead of a file of its own."""

    def __init__(self, settings: Settings, options: dict[str, Any]) -> None:
        self._settings, self._options = settings, options
        super().__init__()

    def load_config(self) -> None:
        """Hand the options over."""
        for name, value in self._options.items():
            self.cfg.set(name, value)
        if "control_socket_disable" in self.cfg.settings:  # later than gunicorn 23
            # It would be a socket in the home folder, where there is one, to steer the server by.
            self.cfg.set("control_socket_disable", True)

    def load(self) -> Flask:
        """Make the app, in the worker: threads and a GPU do not survive a fork."""
        return create_app(self._settings)


def check_listen_address(host: str, port: int) -> None:
    """See whether the address can be listened on, before anything is loaded.

    Args:
        host: A name or address of this machine.
        port: 0 for any free one.

    Raises:
        ServerError: If it cannot; says why.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gunicorn does
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ServerError(
                f"port {port} of {host} is taken by another program: end that one, or give "
                "another --port"
            ) from error
        raise ServerError(
            f"{host}:{port} cannot be listened on ({error.strerror or error}): give a --host that "
            "is this machine's, and a --port above 1023"
        ) from error


def serve(settings: Settings, *, host: str, port: int, access_log: bool = False) -> None:
    """Serve until told to stop.

    Args:
        settings: What the server is told.
        host: To listen on; see `check_listen_address`.
        port: To listen on.
        access_log: Whether to log every request: method, path, status and time, nothing else.
    """
    threads = settings.limits.max_concurrent_requests + EXTRA_THREADS
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    options = {
        "bind": address,
        "workers": 1,
        "worker_class": "gthread",
        "threads": threads,
        "timeout": 0,  # a busy worker is no dead one
        "graceful_timeout": GRACEFUL_TIMEOUT_SECONDS,
        "keepalive": 5,
        "accesslog": "-" if access_log else None,
        "access_log_format": ACCESS_LOG_FORMAT,
        "loglevel": "warning",
        "proc_name": "tagalong",
        "worker_exit": lambda _, worker: _close_service(worker.wsgi),
        "worker_tmp_dir": "/dev/shm" if os.path.isdir("/dev/shm") else None,  # noqa: PTH112, S108
    }
    _GunicornApplication(settings, options).run()


def _close_service(app: Flask | None) -> None:
    """End what the server has begun: a training goes on when another server starts."""
    if app is not None:  # a worker that could not make one ends, too
        app.extensions["tagalong"].close()
