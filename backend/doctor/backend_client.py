"""Calls to a backend as Label Studio makes them, with their duration."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from tagalong.backend.label_studio.api.address import client_options

Login = tuple[str, str]  # user and password
# By status: a code, what was found, and what to do. For answers of proxies, and for statuses that
# Label Studio reports: our server's own answers say more.
REFUSALS = {
    400: (
        "request-malformed",
        "the server does not understand the request",
        "Give the address with https:// if the server, or a proxy before it, uses TLS.",
    ),
    403: (
        "backend-forbidden",
        "a proxy or another server forbids the request",
        "Let requests of Label Studio and of this machine pass there.",
    ),
    408: (
        "request-too-slow",
        "the request did not arrive in time",
        "Look for a slow network or proxy before the backend.",
    ),
    413: (
        "body-too-large",
        "a proxy takes no request of this size",
        "Let the proxy take larger ones, in nginx with client_max_body_size 0.",
    ),
    421: (
        "host-not-served",
        "the server does not serve the host of this URL",
        "Start it with that host in --server-names, or use a loopback name such as localhost.",
    ),
    429: (
        "too-many-requests",
        "the server, or a proxy before it, got too many requests or wrong passwords",
        "Correct the wrong passwords, and wait for a minute; or let the proxy pass more requests.",
    ),
    502: (
        "proxy-without-backend",
        "a proxy gets no answer from the backend",
        "Start the backend, and check its address in the configuration of the proxy.",
    ),
    503: (
        "backend-unavailable",
        "the backend, or a proxy before it, is overloaded or not ready",
        "Try again in a moment, then look at the logs of both.",
    ),
    504: (
        "proxy-timeout",
        "a proxy gave up before the backend answered",
        "Let the proxy wait longer than Label Studio's 100 s, in nginx with proxy_read_timeout "
        "120s.",
    ),
}


@dataclass(frozen=True, slots=True)
class BackendResponse:
    """An answer of a backend, or the reason why there is none."""

    status: int = 0  # of HTTP; 0 without an answer
    body: Any = field(default=None, repr=False)  # JSON, which may hold a document's text, or None
    elapsed_seconds: float = 0.0  # until the last byte; the time limit without an answer
    error_code: str = ""
    error: str = ""  # the rest of a sentence that begins with the address

    @property
    def is_success(self) -> bool:
        """Whether Label Studio accepts the answer: a status below 400, and JSON."""
        return 0 < self.status < 400 and self.body is not None

    def get(self, name: str) -> Any:
        """The value of a field, if there is one."""
        return self.body.get(name) if isinstance(self.body, dict) else None


def call_backend(
    url: str,
    body: Any = None,
    *,
    login: Login | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_seconds: float,
) -> BackendResponse:
    """Call a route of a backend, with a GET or, if there is a body, with a POST of its JSON.

    The time limit holds for the connection, and again for the answer.
    """
    start = time.perf_counter()
    try:
        with httpx.Client(
            timeout=timeout_seconds, follow_redirects=True, **client_options(url)
        ) as client:
            response = client.request(
                "GET" if body is None else "POST",
                url,
                json=body,
                auth=None if login is None else httpx.BasicAuth(*login),
                headers=dict(headers or {}),
            )
    except httpx.TimeoutException:
        code, error = "backend-timeout", f"gave no answer within {timeout_seconds:g} s"
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as failure:
        code, error = "backend-unreachable", f"cannot be reached ({failure})"
    else:
        seconds = time.perf_counter() - start
        try:
            answer = response.json()
        except (ValueError, RecursionError):
            answer = None
        return BackendResponse(response.status_code, answer, seconds)
    return BackendResponse(elapsed_seconds=timeout_seconds, error_code=code, error=error)
