"""Calls to a backend as Label Studio makes them, with what was answered and how long it took."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx

from tagalong.backend.label_studio.api.address import LOOPBACK_HOSTS
from tagalong.ner.errors import TagalongError

Login = tuple[str, str]  # user and password


@dataclass(frozen=True, slots=True)
class BackendResponse:
    """An answer of a backend.

    Attributes:
        status: Of HTTP.
        body: Its JSON, which may hold a document's text; None where it is not JSON.
        elapsed_seconds: From the call to the last byte.
    """

    status: int
    body: Any = field(repr=False)
    elapsed_seconds: float

    @property
    def is_success(self) -> bool:
        """Whether Label Studio takes it for an answer: a status below 400, and JSON."""
        return self.status < 400 and self.body is not None

    def get(self, name: str) -> Any:
        """What the answer has under a name; None where it has nothing."""
        return self.body.get(name) if isinstance(self.body, dict) else None


class NoResponseError(TagalongError):
    """A backend did not answer.

    Args:
        message: Half a one, to follow its address.
        is_timeout: Whether the time was up.
        code: The kind of fault; None for the default of the class.
    """

    code = "no-response-error"

    def __init__(self, message: str, *, is_timeout: bool, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.is_timeout = is_timeout


def call_backend(
    url: str,
    *,
    body: Any = None,
    login: Login | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_seconds: float,
) -> BackendResponse:
    """Call a backend.

    Args:
        url: Of the backend and the route.
        body: Posted as JSON; None for a GET.
        login: User and password, if it asks for them.
        headers: To send besides.
        timeout_seconds: To wait for the connection, and again for the answer.

    Returns:
        The reply, whatever its status.

    Raises:
        NoReplyError: If there is none.
    """
    method: Literal["GET", "POST"] = "GET" if body is None else "POST"
    # A proxy of the environment is never meant for this machine itself.
    trusted = urlsplit(url).hostname not in LOOPBACK_HOSTS
    start = time.perf_counter()
    try:
        with httpx.Client(
            timeout=timeout_seconds, trust_env=trusted, follow_redirects=True
        ) as client:
            auth = None if login is None else httpx.BasicAuth(*login)
            sent = dict(headers or {})
            response = client.request(method, url, json=body, auth=auth, headers=sent)
    except httpx.TimeoutException as error:
        raise NoResponseError(
            f"gave no answer within {timeout_seconds:g} s", is_timeout=True
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise NoResponseError(f"cannot be reached ({error})", is_timeout=False) from error
    return BackendResponse(response.status_code, _parse_json(response), time.perf_counter() - start)


def _parse_json(response: httpx.Response) -> Any:
    """The JSON of an answer; None where it is not JSON."""
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None
