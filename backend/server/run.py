"""Runs the server: gunicorn with one worker and threads.

One worker, because each would load the weights again and count its own requests. Threads, because
the work releases Python's lock, and `/health` must be answered meanwhile.
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

EXTRA_THREADS = 8  # beside those that predict: for health, setup, webhooks and the page
GRACEFUL_TIMEOUT_SECONDS = 30  # for requests in work when the server stops
ACCESS_LOG_FORMAT = "%(m)s %(U)s %(s)s %(B)s bytes %(M)s ms"  # no query, no address, no user


class _GunicornApplication(BaseApplication):
    """Gunicorn, configured by a dict instead of a file."""

    def __init__(self, settings: Settings, options: dict[str, Any]) -> None:
        self._settings, self._options = settings, options
        super().__init__()

    def load_config(self) -> None:
        """Set the options."""
        for name, value in self._options.items():
            self.cfg.set(name, value)
        if "control_socket_disable" in self.cfg.settings:  # later than gunicorn 23
            # Otherwise gunicorn opens a control socket in the home folder.
            self.cfg.set("control_socket_disable", True)

    def load(self) -> Flask:
        """Create the app in the worker, because threads and a GPU do not survive a fork."""
        return create_app(self._settings)


def check_listen_address(host: str, port: int) -> None:
    """Raise `ServerError` unless the server can listen there; port 0 is any free port."""
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

    The access log has method, path, status and time of every request.
    """
    threads = settings.limits.max_concurrent_requests + EXTRA_THREADS
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    options = {
        "bind": address,
        "workers": 1,
        "worker_class": "gthread",
        "threads": threads,
        "timeout": 0,  # a busy worker is not a dead one
        "graceful_timeout": GRACEFUL_TIMEOUT_SECONDS,
        "keepalive": 5,
        "accesslog": "-" if access_log else None,
        "access_log_format": ACCESS_LOG_FORMAT,
        "loglevel": "warning",
        "proc_name": "tagalong",
        # There is no app if the worker failed to create it.
        "worker_exit": lambda _, worker: worker.wsgi and worker.wsgi.extensions["tagalong"].close(),
        "worker_tmp_dir": "/dev/shm" if os.path.isdir("/dev/shm") else None,  # noqa: PTH112, S108
    }
    _GunicornApplication(settings, options).run()
