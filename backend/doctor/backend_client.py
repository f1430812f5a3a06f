"""Calls to a backend as Label Studio makes them, with their duration."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from tagalong.backend.label_studio.api.address import client_options

Login = tuple[str, str]  # user and password


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
