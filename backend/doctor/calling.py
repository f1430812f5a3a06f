"""Calls to a backend as Label Studio makes them, with what was answered and how long it took."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx

from backend.remote.address import LOOPBACK
from ner.errors import TagalongError

Login = tuple[str, str]  # user and password


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of a backend.

    Attributes:
        status: Of HTTP.
        body: Its JSON, which may hold a document's text; None where it is not JSON.
        seconds: From the call to the last byte.
    """

    status: int
    body: Any = field(repr=False)
    seconds: float

    @property
    def is_success(self) -> bool:
        """Whether Label Studio takes it for an answer: a status below 400, and JSON."""
        return self.status < 400 and self.body is not None

    def get(self, name: str) -> Any:
        """What the answer has under a name; None where it has nothing."""
        return self.body.get(name) if isinstance(self.body, dict) else None


class NoReplyError(TagalongError):
    """A backend did not answer.

    Args:
        sentence: Half a one, to follow its address.
        slow: Whether the time was up.
    """

    def __init__(self, sentence: str, *, slow: bool) -> None:
        super().__init__(sentence)
        self.slow = slow


def call_backend(
    url: str,
    *,
    body: Any = None,
    login: Login | None = None,
    headers: Mapping[str, str] | None = None,
    seconds: float,
) -> Reply:
    """Call a backend.

    Args:
        url: Of the backend and the route.
        body: Posted as JSON; None for a GET.
        login: User and password, if it asks for them.
        headers: To send besides.
        seconds: To wait for the connection, and again for the answer.

    Returns:
        The reply, whatever its status.

    Raises:
        NoReplyError: If there is none.
    """
    method: Literal["GET", "POST"] = "GET" if body is None else "POST"
    # A proxy of the environment is never meant for this machine itself.
    trusted = urlsplit(url).hostname not in LOOPBACK
    start = time.perf_counter()
    try:
        with httpx.Client(timeout=seconds, trust_env=trusted, follow_redirects=True) as client:
            auth = None if login is None else httpx.BasicAuth(*login)
            sent = dict(headers or {})
            response = client.request(method, url, json=body, auth=auth, headers=sent)
    except httpx.TimeoutException as error:
        raise NoReplyError(f"gave no answer within {seconds:g} s", slow=True) from error
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise NoReplyError(f"cannot be reached ({error})", slow=False) from error
    return Reply(response.status_code, _json(response), time.perf_counter() - start)


def _json(response: httpx.Response) -> Any:
    """The JSON of an answer; None where it is not JSON."""
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None
