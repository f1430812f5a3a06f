"""Calls to a backend as Label Studio makes them, with their duration."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx

from tagalong.backend.label_studio.api.address import LOOPBACK_HOSTS

Login = tuple[str, str]  # user and password


@dataclass(frozen=True, slots=True)
class BackendResponse:
    """An answer of a backend.

    Attributes:
        status: HTTP status.
        body: JSON, which may hold a document's text; None if the answer is not JSON.
        elapsed_seconds: From the call to the last byte.
    """

    status: int
    body: Any = field(repr=False)
    elapsed_seconds: float

    @property
    def is_success(self) -> bool:
        """Whether Label Studio accepts the answer: a status below 400, and JSON."""
        return self.status < 400 and self.body is not None

    def get(self, name: str) -> Any:
        """The value of a field, if there is one."""
        return self.body.get(name) if isinstance(self.body, dict) else None


@dataclass(frozen=True, slots=True)
class NoResponse:
    """No answer; `reason` is the rest of a sentence that begins with the address."""

    code: str
    reason: str


def call_backend(
    url: str,
    *,
    body: Any = None,
    login: Login | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_seconds: float,
) -> BackendResponse | NoResponse:
    """Call a backend.

    Args:
        url: Address of the backend, with the route.
        body: Sent as JSON in a POST; None for a GET.
        login: User and password, if the backend asks for them.
        headers: Further headers.
        timeout_seconds: Limit for the connection, and again for the answer.

    Returns:
        The answer, whatever its status, or the reason why there is none.
    """
    method: Literal["GET", "POST"] = "GET" if body is None else "POST"
    # A proxy in the environment is never meant for this machine.
    uses_proxy = urlsplit(url).hostname not in LOOPBACK_HOSTS
    start = time.perf_counter()
    try:
        with httpx.Client(
            timeout=timeout_seconds, trust_env=uses_proxy, follow_redirects=True
        ) as client:
            auth = None if login is None else httpx.BasicAuth(*login)
            response = client.request(
                method, url, json=body, auth=auth, headers=dict(headers or {})
            )
    except httpx.TimeoutException:
        return NoResponse("backend-timeout", f"gave no answer within {timeout_seconds:g} s")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return NoResponse("backend-unreachable", f"cannot be reached ({error})")
    return BackendResponse(response.status_code, _parse_json(response), time.perf_counter() - start)


def _parse_json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None
