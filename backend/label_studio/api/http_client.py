"""One request to Label Studio: address, key, time limits, retries and errors.

The only file that knows which HTTP client the SDK brings.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any, Literal, TypedDict, TypeVar, Unpack
from urllib.parse import urlsplit

import httpx
from label_studio_sdk.core.api_error import ApiError
from label_studio_sdk.core.client_wrapper import SyncClientWrapper

from tagalong.backend.label_studio.api.address import client_options, normalize_url, validate_key
from tagalong.ner.errors import LabelStudioError, LabelStudioErrorKind

CONNECT_TIMEOUT_SECONDS = 5.0
READ_TIMEOUT_SECONDS = 30.0  # until the first byte of an answer
SLOW_READ_TIMEOUT_SECONDS = 150.0  # Label Studio itself waits 100 s for a backend's predictions
PAGE_SIZE = 100  # items of a list in one answer
MAX_RETRIES = 2  # after 1 and 2 s, or after the pause that the server asks for
LINK_TAG_PATTERN = re.compile(r"</?a\b[^>]*>")  # Label Studio writes reasons for its own pages
MAX_DETAIL_CHARACTERS = 500  # of a reason, so that a message stays readable
IDEMPOTENT_METHODS = ("GET", "PATCH")  # safe to repeat

HTTPMethod = Literal["GET", "POST", "PATCH", "DELETE"]
KeyType = Literal["legacy", "personal"]

T = TypeVar("T")


class RequestOptions(TypedDict, total=False):
    """The optional parts of a request."""

    query: Mapping[str, Any]  # parameters of the URL
    body: Any  # sent as JSON, unless it is None
    timeout_seconds: float  # until the first byte of the answer


class Connection:
    """Sends requests with the key; thread-safe.

    The SDK's client exchanges a personal token for short-lived ones. It repeats idempotent requests
    after lost connections, 429 and 5xx.

    Raises:
        LabelStudioError: If the address or the key cannot be used.
    """

    def __init__(
        self,
        url: str,  # of Label Studio, or of one of its pages
        key: str,  # a legacy token or a personal one
        *,
        max_retries: int = MAX_RETRIES,  # of an idempotent request
        transport: httpx.BaseTransport | None = None,  # None for the network
    ) -> None:
        self.url = normalize_url(url)
        self._key = validate_key(key)
        self.key_type: KeyType = "personal" if self._key.count(".") == 2 else "legacy"
        self._max_retries = max_retries
        client = httpx.Client(
            timeout=httpx.Timeout(READ_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS),
            transport=transport,
            **client_options(self.url),
        )
        try:
            self._wrapper = SyncClientWrapper(
                api_key=self._key,
                base_url=f"{self.url}/",  # without the slash, the SDK drops the path prefix
                httpx_client=client,
            )
        except ApiError as error:  # the SDK reads the expiry date of a personal token
            raise self._key_error(_read_detail(error.body)) from error
        self._client = self._wrapper.httpx_client

    def authorization_header(self) -> str:
        """The value of ``Authorization``: ``Token ...``, or ``Bearer ...`` renewed if needed."""
        with self._translating_errors("api/token/refresh", READ_TIMEOUT_SECONDS):
            return str(self._wrapper.get_headers()["Authorization"])

    def close(self) -> None:
        """Close the open connections."""
        self._client.httpx_client.close()

    def request_json(self, method: HTTPMethod, path: str, **options: Unpack[RequestOptions]) -> Any:
        """Send a request to the API, and return the JSON of the answer; None if it is empty.

        Raises:
            LabelStudioError: If there is no answer, an error status, or an answer without JSON.
        """
        text = self.request_text(method, path, **options)
        return self.parse_answer(json.loads, text, path) if text else None

    def get(
        self, path: str, parse: Callable[[Any], T], *, timeout_seconds: float = READ_TIMEOUT_SECONDS
    ) -> T:
        """Send a GET, and parse the answer; errors as in `request_json`."""
        answer = self.request_json("GET", path, timeout_seconds=timeout_seconds)
        return self.parse_answer(parse, answer, path)

    def send(
        self, method: Literal["POST", "PATCH"], path: str, body: Any, parse: Callable[[Any], T]
    ) -> T:
        """Send a POST or PATCH, and parse the answer; errors as in `request_json`."""
        answer = self.request_json(
            method, path, body=body, timeout_seconds=SLOW_READ_TIMEOUT_SECONDS
        )
        return self.parse_answer(parse, answer, path)

    def parse_answer(self, parse: Callable[[Any], T], answer: Any, path: str) -> T:
        """Parse an answer; one of another shape is not Label Studio's, a LabelStudioError."""
        try:
            return parse(answer)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise self.not_label_studio_error(path) from error

    def paginate(
        self,
        path: str,
        query: Mapping[str, Any],
        fields: tuple[str, str],  # of a page: its items, and the number of all items
        parse: Callable[[Any], T],
    ) -> Iterator[T]:
        """Read all pages of a list, and parse each item; errors as in `request_json`."""

        def parse_page(answer: Any) -> tuple[list[T], int]:
            items, total = (answer[field] for field in fields)
            return list(map(parse, items)), int(total)

        seen = 0
        for page in count(1):
            numbered = {**query, "page": page, "page_size": PAGE_SIZE}
            answer = self.request_json("GET", path, query=numbered)
            items, total = self.parse_answer(parse_page, answer, path)
            yield from items
            seen += len(items)
            if not items or seen >= total:  # empty: items were deleted in the meantime
                return

    def request_text(self, method: HTTPMethod, path: str, **options: Unpack[RequestOptions]) -> str:
        """Send a request, and return the text of the answer; errors as in `request_json`."""
        seconds, body = options.get("timeout_seconds", READ_TIMEOUT_SECONDS), options.get("body")
        with self._translating_errors(path, seconds):
            response: httpx.Response = self._client.request(
                path,
                method=method,
                params=dict(options.get("query", {})),
                content=None if body is None else json.dumps(body).encode(),
                headers={"Content-Type": "application/json"},
                request_options={
                    "timeout": httpx.Timeout(seconds, connect=CONNECT_TIMEOUT_SECONDS),
                    # The SDK would repeat a POST too, and so store predictions twice.
                    "max_retries": self._max_retries if method in IDEMPOTENT_METHODS else 0,
                },
            )
        if response.is_redirect:
            raise self._redirect_error(response, path)
        if response.is_error:
            raise self._response_error(response.status_code, response.text, path)
        return response.text

    @contextmanager
    def _translating_errors(self, path: str, seconds: float) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._no_response_error(error, seconds) from error
        except ApiError as error:  # the exchange of a personal token was refused
            raise self._response_error(error.status_code or 0, error.body, path) from error
        except ValueError as error:  # the exchange was answered with a page
            raise self.not_label_studio_error(path) from error

    def not_label_studio_error(self, path: str) -> LabelStudioError:
        """The error for an answer that is not one of Label Studio's API."""
        return self._make_error(
            f"{self.url}/{path} does not answer as Label Studio's API does: check that the address "
            "is Label Studio's own, and that no login page or proxy stands before it",
            "foreign",
        )

    def _no_response_error(self, error: Exception, seconds: float) -> LabelStudioError:
        if isinstance(error, httpx.InvalidURL):
            return self._make_error(f"{self.url} is not an address: {error}", "address")
        if isinstance(error, httpx.ConnectTimeout):
            return self._make_error(
                f"no connection to Label Studio at {self.url} within {CONNECT_TIMEOUT_SECONDS:g} s:"
                " check that it runs, and that no firewall stands between",
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
        # Redirects are never followed, because the key would go to the other address.
        target = urlsplit(response.headers.get("location", ""))
        if not target.netloc:  # to a login page
            return self.not_label_studio_error(path)
        address = f"{target.scheme or 'https'}://{target.netloc}"
        return self._make_error(
            f"{self.url} redirects to {address}: if that is Label Studio, give its address",
            "address",
        )

    def _response_error(self, status: int, body: Any, path: str) -> LabelStudioError:
        detail = _read_detail(body)
        where = f"Label Studio at {self.url}"
        reason = f": {detail}" if detail else f" (HTTP {status} to {path})"
        if status == 401:
            return self._key_error(detail)
        if status == 403:
            return self._make_error(f"{where} does not allow this{reason}", "forbidden", detail)
        if status == 404 and detail:
            return self._make_error(f"{where} has no {path}{reason}", "missing", detail)
        if status == 413:  # usually from a proxy
            return self._make_error(
                f"{where} takes no request of this size{reason}: have its proxy allow more "
                "(client_max_body_size of nginx)",
                "refused",
                detail or "the request is too large",
            )
        if status == 429 or status >= 500:
            return self._make_error(f"{where} failed{reason}", "failed", detail)
        if not detail:
            return self.not_label_studio_error(path)
        return self._make_error(f"{where} refused{reason}", "refused", detail)

    def _key_error(self, detail: str) -> LabelStudioError:
        reason = f" ({detail})" if detail else ""
        remedy = (
            "make a new personal token in Label Studio under Account & Settings"
            if self.key_type == "personal"
            else "copy it again; legacy tokens are off by default, so make a personal token under "
            "Account & Settings, or switch them on under Organization, API Tokens Settings"
        )
        return self._make_error(
            f"Label Studio at {self.url} does not accept the key{reason}: {remedy}", "key", detail
        )

    def _make_error(
        self, message: str, kind: LabelStudioErrorKind, detail: str = ""
    ) -> LabelStudioError:
        # A server may quote the key in its reason.
        return LabelStudioError(
            message.replace(self._key, "***"), kind, detail.replace(self._key, "***")
        )


def _read_detail(body: Any) -> str:
    """Read Label Studio's reason, on one line; empty if the answer is not Label Studio's."""
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except ValueError:
            return ""
    if not isinstance(body, Mapping):
        return ""
    reasons = body.get("validation_errors") or body.get("detail") or body.get("error") or ""
    line = " ".join(LINK_TAG_PATTERN.sub("", _flatten_reasons(reasons)).split())
    return line[:MAX_DETAIL_CHARACTERS]


def _flatten_reasons(reasons: Any) -> str:
    """Join the strings of a tree of reasons, each after the name of its field."""
    if isinstance(reasons, Mapping):
        named = ((name, _flatten_reasons(reason)) for name, reason in reasons.items())
        return "; ".join(
            reason if name == "non_field_errors" else f"{name}: {reason}" for name, reason in named
        )
    if isinstance(reasons, list):
        return "; ".join(map(_flatten_reasons, reasons))
    return str(reasons)
