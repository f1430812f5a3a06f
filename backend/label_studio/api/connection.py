"""One request to Label Studio: its address, key, time limits, retries, and all that can go wrong.

The only file that knows which HTTP client the SDK brings.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import httpx
from label_studio_sdk.core.api_error import ApiError
from label_studio_sdk.core.client_wrapper import SyncClientWrapper

from tagalong.backend.label_studio.api.address import LOOPBACK_HOSTS, normalize_url, validate_key
from tagalong.ner.errors import LabelStudioError, LabelStudioErrorKind

CONNECT_TIMEOUT_SECONDS = 5.0  # seconds until a connection must stand
READ_TIMEOUT_SECONDS = 30.0  # seconds until an answer must begin, where the caller names none
SLOW_READ_TIMEOUT_SECONDS = (
    150.0  # where it takes long: Label Studio itself waits 100 s for a backend's predictions
)
PAGE_SIZE = 100  # items of a list in one answer
MAX_RETRIES = 2  # after 1 and 2 s, or as long as the server asks for
LINK_TAG_PATTERN = re.compile(r"</?a\b[^>]*>")  # links in reasons that are meant for its own pages
MAX_DETAIL_CHARACTERS = 500  # characters of a server's own words that fit into a sentence
IDEMPOTENT_METHODS = ("GET", "PATCH")  # doing them twice is doing them once

HTTPMethod = Literal["GET", "POST", "PATCH", "DELETE"]
KeyType = Literal["legacy", "personal"]

T = TypeVar("T")


class Connection:
    """Sends requests with the key; thread-safe.

    The SDK's client turns a personal token into short-lived ones, and repeats what may be repeated
    after lost connections, 429 and 5xx.

    Args:
        url: Of Label Studio, path prefix included; what follows of a page's address is cut off.
        key: A legacy token or a personal one.
        max_retries: How often to repeat what may be repeated.

    Raises:
        LabelStudioError: If the address or the key cannot be used.
    """

    def __init__(self, url: str, key: str, *, max_retries: int = MAX_RETRIES) -> None:
        self.url = normalize_url(url)
        self._key = validate_key(key)
        self.key_type: KeyType = "personal" if self._key.count(".") == 2 else "legacy"
        self._max_retries = max_retries
        # A proxy of the environment is never meant for this machine itself.
        trusted = urlsplit(self.url).hostname not in LOOPBACK_HOSTS
        try:
            self._wrapper = SyncClientWrapper(
                api_key=self._key,
                base_url=f"{self.url}/",  # without the slash, the SDK would lose the path prefix
                httpx_client=httpx.Client(
                    timeout=httpx.Timeout(READ_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS),
                    trust_env=trusted,
                ),
            )
        except ApiError as error:  # a personal token says itself that it has expired
            raise self._key_error(_read_detail(error.body)) from error

        self._client = self._wrapper.httpx_client

    def authorization_header(self) -> str:
        """What to send as ``Authorization``, renewed where it is short-lived.

        Returns:
            ``Token ...`` or ``Bearer ...``.

        Raises:
            LabelStudioError: If a personal token cannot be exchanged.
        """
        try:
            return str(self._wrapper.get_headers()["Authorization"])
        except httpx.HTTPError as error:
            raise self._no_response_error(error, READ_TIMEOUT_SECONDS) from error
        except ApiError as error:
            raise self._response_error(
                error.status_code or 0, error.body, "api/token/refresh"
            ) from error

    def close(self) -> None:
        """Close what is open to Label Studio."""
        self._client.httpx_client.close()

    def request_json(
        self,
        method: HTTPMethod,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        timeout_seconds: float = READ_TIMEOUT_SECONDS,
    ) -> Any:
        """Ask the API.

        Args:
            method: The verb.
            path: From the address on, without a slash in front.
            query: Parameters of the URL.
            body: Sent as JSON, unless it is None.
            timeout_seconds: Until the answer must begin.

        Returns:
            The JSON of the answer; None if it is empty.

        Raises:
            LabelStudioError: If there is no answer, or it is not a JSON one of Label Studio's.
        """
        text = self.request_text(
            method, path, query=query, body=body, timeout_seconds=timeout_seconds
        )
        if not text:
            return None
        try:
            return json.loads(text)
        except ValueError as error:
            raise self.not_label_studio_error(path) from error

    def get(
        self, path: str, parse: Callable[[Any], T], *, timeout_seconds: float = READ_TIMEOUT_SECONDS
    ) -> T:
        """GET, and what the answer stands for; like :meth:`call`."""
        return self.parse_answer(
            parse, self.request_json("GET", path, timeout_seconds=timeout_seconds), path
        )

    def send(
        self, method: Literal["POST", "PATCH"], path: str, body: Any, parse: Callable[[Any], T]
    ) -> T:
        """POST or PATCH, and what the answer stands for; like :meth:`call`."""
        answer = self.request_json(
            method, path, body=body, timeout_seconds=SLOW_READ_TIMEOUT_SECONDS
        )
        return self.parse_answer(parse, answer, path)

    def parse_answer(self, parse: Callable[[Any], T], answer: Any, path: str) -> T:
        """What an answer stands for.

        Args:
            parse: Makes it from JSON.
            answer: The JSON.
            path: What was asked.

        Returns:
            What ``build`` makes.

        Raises:
            LabelStudioError: If the JSON has another shape, and so is not Label Studio's.
        """
        try:
            return parse(answer)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise self.not_label_studio_error(path) from error

    def paginate(
        self,
        path: str,
        query: Mapping[str, Any],
        items_field: str,
        total_field: str,
        parse: Callable[[Any], T],
    ) -> Iterator[T]:
        """The items of a list that comes in pages.

        Args:
            path: Of the list.
            query: What to ask for.
            items_field: The field of a page that holds them.
            total_field: The field that says how many there are in all.
            parse: Makes one from JSON.

        Yields:
            What ``build`` makes of each.

        Raises:
            LabelStudioError: As :meth:`call`.
        """
        seen = 0
        for page in count(1):
            numbered = {**query, "page": page, "page_size": PAGE_SIZE}
            answer = self.request_json("GET", path, query=numbered)
            found = self.parse_answer(
                lambda answer: list(map(parse, answer[items_field])), answer, path
            )
            yield from found
            seen += len(found)
            if not found or seen >= self.parse_answer(
                lambda answer: int(answer[total_field]), answer, path
            ):
                return

    def request_text(
        self,
        method: HTTPMethod,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        timeout_seconds: float = READ_TIMEOUT_SECONDS,
    ) -> str:
        """Ask for anything; like :meth:`call`, and the answer is its text."""
        repeats = self._max_retries if method in IDEMPOTENT_METHODS else 0
        try:
            response: httpx.Response = self._client.request(
                path,
                method=method,
                params=dict(query or {}),
                content=None if body is None else json.dumps(body).encode(),
                headers={"Content-Type": "application/json"},
                request_options={
                    "timeout": httpx.Timeout(timeout_seconds, connect=CONNECT_TIMEOUT_SECONDS),
                    "max_retries": repeats,
                },
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._no_response_error(error, timeout_seconds) from error
        except ApiError as error:  # of the exchange of a personal token for a short-lived one
            raise self._response_error(error.status_code or 0, error.body, path) from error
        except ValueError as error:  # the same exchange, answered with a page
            raise self.not_label_studio_error(path) from error
        if response.is_redirect:
            raise self._redirect_error(response, path)
        if response.is_error:
            raise self._response_error(response.status_code, response.text, path)
        return response.text

    def not_label_studio_error(self, path: str) -> LabelStudioError:
        """What to raise where something answers that is not Label Studio's API.

        Args:
            path: What was asked.

        Returns:
            The error.
        """
        return self._make_error(
            f"{self.url}/{path} does not answer as Label Studio's API does: check that the address "
            "is Label Studio's own, and that no login page or proxy stands before it",
            "foreign",
        )

    def _no_response_error(self, error: Exception, seconds: float) -> LabelStudioError:
        """No answer at all."""
        if isinstance(error, httpx.InvalidURL):
            return self._make_error(f"{self.url} is not an address: {error}", "address")
        if isinstance(error, httpx.ConnectTimeout):
            return self._make_error(
                f"no connection to Label Studio at {self.url} within {CONNECT_TIMEOUT_SECONDS:g} s: check that it "
                "runs, and that no firewall stands between",
                "slow",
            )
        if isinstance(error, httpx.TimeoutException):
            return self._make_error(
                f"Label Studio at {self.url} gave no answer within {seconds:g} s: it is too busy, "
                "or waits for something itself; look at its log",
                "slow",
            )
        what = "cannot be reached" if isinstance(error, httpx.ConnectError) else "broke off"
        return self._make_error(
            f"Label Studio at {self.url} {what} ({error}): check the address, and that it runs",
            "unreachable",
        )

    def _redirect_error(self, response: httpx.Response, path: str) -> LabelStudioError:
        """Never followed: the key would go to wherever it points."""
        place = urlsplit(response.headers.get("location", ""))
        if not place.netloc:  # to a page of its own, to log in
            return self.not_label_studio_error(path)
        target = f"{place.scheme or 'https'}://{place.netloc}"
        return self._make_error(
            f"{self.url} sends on to {target}: if that is Label Studio, give its address", "address"
        )

    def _response_error(self, status: int, body: Any, path: str) -> LabelStudioError:
        """An answer that says no."""
        detail = _read_detail(body)
        where = f"Label Studio at {self.url}"
        said = f": {detail}" if detail else f" (HTTP {status} to {path})"
        if status == 401:
            return self._key_error(detail)
        if status == 403:
            return self._make_error(f"{where} does not allow this{said}", "forbidden", detail)
        if status == 404 and detail:
            return self._make_error(f"{where} has no {path}{said}", "missing", detail)
        if status == 413:  # mostly of a proxy before it
            return self._make_error(
                f"{where} takes no request of this size{said}: have its proxy allow more "
                "(client_max_body_size of nginx)",
                "refused",
                detail or "the request is too large",
            )
        if status == 429 or status >= 500:
            return self._make_error(f"{where} failed{said}", "failed", detail)
        if not detail:
            return self.not_label_studio_error(path)
        return self._make_error(f"{where} refused{said}", "refused", detail)

    def _key_error(self, detail: str) -> LabelStudioError:
        """A key that is wrong, expired, or switched off."""
        said = f" ({detail})" if detail else ""
        mend = (
            "make a new personal token in Label Studio under Account & Settings"
            if self.key_type == "personal"
            else "copy it again; legacy tokens are off by default, so make a personal token under "
            "Account & Settings, or switch them on under Organization, API Tokens Settings"
        )
        return self._make_error(
            f"Label Studio at {self.url} takes no such key{said}: {mend}", "key", detail
        )

    def _make_error(
        self, message: str, problem: LabelStudioErrorKind, detail: str = ""
    ) -> LabelStudioError:
        """An error that does not quote the key, whoever quoted it."""
        return LabelStudioError(
            message.replace(self._key, "***"), problem, detail.replace(self._key, "***")
        )


def list_parser(parse: Callable[[Any], T]) -> Callable[[Any], list[T]]:
    """What reads a list, given what reads one item."""
    return lambda answer: list(map(parse, answer))


def _read_detail(body: Any) -> str:
    """What Label Studio says is wrong, in one line; empty if the answer is not one of its own."""
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except ValueError:
            return ""
    if not isinstance(body, Mapping):
        return ""
    reasons = body.get("validation_errors") or body.get("detail") or body.get("error") or ""
    return " ".join(LINK_TAG_PATTERN.sub("", _flatten_reasons(reasons)).split())[
        :MAX_DETAIL_CHARACTERS
    ]


def _flatten_reasons(reasons: Any) -> str:
    """The strings of a tree of reasons, each after the field that it is about."""
    if isinstance(reasons, Mapping):
        named = ((name, _flatten_reasons(reason)) for name, reason in reasons.items())
        return "; ".join(
            reason if name == "non_field_errors" else f"{name}: {reason}" for name, reason in named
        )
    if isinstance(reasons, list):
        return "; ".join(map(_flatten_reasons, reasons))
    return str(reasons)
