"""Requests to Label Studio: keys, pages, refusals and lost answers."""

import contextlib
import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.label_studio.api import http_client
from tagalong.backend.label_studio.api.address import normalize_url
from tagalong.backend.label_studio.api.client import LabelStudioClient, connect
from tagalong.backend.label_studio.api.objects import MLBackend
from tagalong.ner.errors import LabelStudioError
from tests.errors import assert_error

KEY = "9f2c" * 10  # a legacy token
SECRET = "s" * 32
# The SDK reads its answer in a way that pydantic has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:The `parse_obj` method:DeprecationWarning")

WHO = {"id": 1, "email": "somebody@localhost", "first_name": "", "active_organization": 1}
VALIDATION = {  # recorded from 1.23.2, shortened
    "id": "77ecbb6f-6f32-4e83-8a38-d07b3a8bd65f",
    "status_code": 400,
    "version": "1.23.2",
    "detail": "Validation error",
    "exc_info": None,
    "validation_errors": {
        "non_field_errors": ['Can\'t connect to ML backend. <a href="https://x">Learn more</a>'],
        "url": ["bad", "x"],
    },
}
BACKEND = {
    "id": 3, "state": "CO", "readable_state": "Connected", "is_interactive": True,
    "url": "http://127.0.0.1:9090", "error_message": None, "title": "enc-1", "project": 7,
    "auth_method": "NONE", "basic_auth_user": "", "basic_auth_pass_is_set": False,
    "description": "", "extra_params": None, "model_version": "enc-1", "timeout": 100.0,
}  # fmt: skip


@dataclass(frozen=True)
class Request:
    """A request, as the server received it."""

    method: str
    path: str
    key: str
    body: Any


@dataclass
class Server:
    """Answers in the order of its script; the last one repeats. Status 0 loses the connection."""

    url: str = "http://127.0.0.1:8080"
    script: list[tuple[int, Any]] = field(default_factory=lambda: [(200, WHO)])
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    issued: str = ""  # the short-lived token that a personal one is exchanged for

    def answers(self, *script: tuple[int, Any]) -> None:
        self.script = list(script)
        self.requests.clear()

    def connect(self, key: str = KEY, prefix: str = "") -> LabelStudioClient:
        transport = httpx.MockTransport(self.handle)
        return connect(self.url + prefix, key, transport=transport)

    def handle(self, sent: httpx.Request) -> httpx.Response:
        path, body = sent.url.raw_path.decode(), json.loads(sent.content or "null")
        key = sent.headers.get("Authorization", "")
        self.requests.append(Request(sent.method, path, key, body))
        if path.endswith("/api/token/refresh/") and self.issued:
            return httpx.Response(200, json={"access": self.issued})
        status, content = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if status == 0:
            raise httpx.RemoteProtocolError("Server disconnected", request=sent)
        text = content if isinstance(content, str) else json.dumps(content)
        return httpx.Response(status, text=text, headers=self.headers)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("label_studio_sdk.core.http_client.INITIAL_RETRY_DELAY_SECONDS", 0.01)


def token(kind: str, seconds: float) -> str:
    return jwt.encode({"token_type": kind, "exp": int(time.time() + seconds)}, SECRET)


def failure(act: Callable[[], object]) -> LabelStudioError:
    with pytest.raises(LabelStudioError) as raised:
        act()
    return raised.value


def test_legacy_token_is_sent_unchanged(server: Server) -> None:
    with server.connect(f" {KEY}\n") as asking:
        assert asking.whoami().email == "somebody@localhost"
        assert asking.connection.key_type == "legacy"
    assert server.requests == [Request("GET", "/api/current-user/whoami", f"Token {KEY}", None)]


def test_personal_token_is_exchanged_once_for_access_token(server: Server) -> None:
    personal, server.issued = token("refresh", 9999), token("access", 300)
    with server.connect(personal, "/prefix/") as asking:
        asking.whoami()
        asking.whoami()
        assert asking.connection.key_type == "personal"
    assert [request.path for request in server.requests] == [
        "/prefix/api/token/refresh/",
        *["/prefix/api/current-user/whoami"] * 2,
    ]
    assert server.requests[0].body == {"refresh": personal}
    assert server.requests[1].key == f"Bearer {server.issued}"


def test_expired_access_token_is_renewed(server: Server) -> None:
    server.issued = token("access", -10)
    with server.connect(token("refresh", 9999)) as asking:
        asking.whoami()
        asking.whoami()
    assert [request.path for request in server.requests].count("/api/token/refresh/") == 2


def test_refused_personal_token_is_reported(server: Server) -> None:
    personal = token("refresh", 9999)
    server.answers((401, {"detail": "Token is blacklisted", "code": "token_not_valid"}))
    error = failure(server.connect(personal).whoami)
    assert error.kind == "key"
    assert error.detail == "Token is blacklisted"
    assert_error(error, "label-studio-key")
    server.answers((200, "<html>log in</html>"))
    assert failure(server.connect(personal).whoami).kind == "foreign"


def test_expired_personal_token_is_not_sent(server: Server) -> None:
    error = failure(lambda: server.connect(token("refresh", -10)))
    assert error.kind == "key"
    assert_error(error, "label-studio-key")
    assert server.requests == []


@pytest.mark.parametrize("key", ["", " ", "two words", "naïve", "line\nbreak", "nul\0"])
def test_malformed_key_is_refused_without_quoting_it(key: str) -> None:
    error = failure(lambda: connect("http://127.0.0.1", key))
    assert error.kind == "key"
    assert not key.strip() or key not in str(error)


@pytest.mark.parametrize(
    ("status", "body", "kind", "value"),
    [
        (401, {"detail": "Invalid token."}, "key", "(Invalid token.)"),
        (401, "", "key", ""),
        (403, {"detail": "URL resolves to a reserved network address"}, "forbidden", "reserved"),
        (404, {"detail": "No Project matches the given query."}, "missing", "No Project matches"),
        (404, "<html>Not Found</html>", "foreign", ""),
        (400, VALIDATION, "refused", "Can't connect to ML backend. Learn more; url: bad; x"),
        (413, "<html>Too Large</html>", "refused", "client_max_body_size"),
        (418, "teapot", "foreign", ""),
        (500, {"detail": "database is locked"}, "failed", "failed: database is locked"),
        (502, "<html>Bad Gateway</html>", "failed", "HTTP 502"),
        (429, "", "failed", "HTTP 429"),
        (200, "<html>log in</html>", "foreign", ""),
        (200, "", "foreign", ""),
        (200, [], "foreign", ""),
        (200, {"user": 1}, "foreign", ""),
    ],
)
def test_refusals_are_one_sentence(
    status: int, body: Any, kind: str, value: str, server: Server
) -> None:
    server.answers((status, body))
    error = failure(server.connect().whoami)
    assert error.kind == kind
    assert_error(error, f"label-studio-{kind}")
    assert value in str(error)
    assert server.url in str(error)
    assert "\n" not in str(error)


def test_key_is_never_quoted(server: Server) -> None:
    server.answers((400, {"detail": f"Header Token {KEY} is wrong"}))
    error = failure(server.connect().whoami)
    assert error.detail == "Header Token *** is wrong"
    assert KEY not in str(error)


def test_long_reason_is_truncated(server: Server) -> None:
    server.answers((400, {"detail": "x" * 10_000}))
    assert len(str(failure(server.connect().whoami))) < 1000


@pytest.mark.parametrize(
    ("location", "kind", "value"),
    [
        ("https://elsewhere.example/login?next=secret", "address", "https://elsewhere.example:"),
        ("/user/login/?next=/api", "foreign", ""),
        ("", "foreign", ""),
    ],
)
def test_key_is_not_sent_on_redirects(location: str, kind: str, value: str, server: Server) -> None:
    server.headers["Location"] = location
    server.answers((302, ""))
    error = failure(server.connect().whoami)
    assert_error(error, f"label-studio-{kind}")
    assert value in str(error)
    assert "secret" not in str(error)
    assert len(server.requests) == 1


@pytest.mark.parametrize("trouble", [(503, "busy"), (429, ""), (500, {"detail": "no"}), (0, "")])
def test_temporary_errors_are_retried(trouble: tuple[int, Any], server: Server) -> None:
    server.answers(trouble, trouble, (200, WHO))
    assert server.connect().whoami().id == 1
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_refusals_are_not_retried(status: int, server: Server) -> None:
    server.answers((status, {"detail": "no"}))
    failure(server.connect().whoami)
    assert len(server.requests) == 1


@pytest.mark.parametrize("trouble", [(503, "busy"), (0, "")])
def test_creating_requests_are_not_retried(trouble: tuple[int, Any], server: Server) -> None:
    server.answers(trouble)
    asking = server.connect()
    error = failure(lambda: asking.tasks.add(7, [{"data": {"text": "x"}}]))
    assert error.kind in ("failed", "unreachable")
    assert len(server.requests) == 1


def test_unused_port_is_reported() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening
        error = failure(connect(f"http://127.0.0.1:{unused.getsockname()[1]}", KEY).whoami)
    assert_error(error, "label-studio-unreachable")
    error = failure(connect("http://no-such-host.invalid", KEY, retries=0).whoami)
    assert error.kind == "unreachable"


def test_timeout_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        asking = connect(f"http://127.0.0.1:{silent.getsockname()[1]}", KEY)
        error = failure(
            lambda: asking.connection.request_json("GET", "api/version/", timeout_seconds=0.1)
        )
    assert_error(error, "label-studio-slow")


def test_loopback_bypasses_proxy(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert server.connect().whoami().id == 1


def test_lists_are_read_to_last_page(server: Server) -> None:
    tasks = [{"id": i, "data": {"text": "x"}, "total_predictions": 0} for i in range(5)]
    server.answers((200, {"tasks": tasks[:3], "total": 5}), (200, {"tasks": tasks[3:], "total": 5}))
    found = list(server.connect().tasks.iterate_for_project(7))
    assert [task.id for task in found] == [0, 1, 2, 3, 4]
    assert [request.path.partition("page=")[2][0] for request in server.requests] == ["1", "2"]
    assert "'x'" not in repr(found[0])
    server.answers((200, {"tasks": [], "total": 3}))  # some were deleted meanwhile
    assert list(server.connect().tasks.iterate_for_project(7)) == []


def test_title_is_matched_exactly(server: Server) -> None:
    project = {"label_config": "<View/>", "show_collab_predictions": True, "model_version": None}
    project["created_at"] = "2026-11-22T22:13:55.999999+02:00"
    found = [project | {"id": 1, "title": "Demo"}, project | {"id": 2, "title": "Demo two"}]
    server.answers((200, {"results": found, "count": 2}))
    (kept,) = server.connect().list_projects("Demo")
    assert (kept.id, kept.model_version, kept.key) == (1, "", "1.1795378435")


def test_backend_update_sends_url_and_project(server: Server) -> None:
    server.answers((200, BACKEND))
    asking = server.connect()
    asking.ml_backends.update(MLBackend.from_json(BACKEND), title="enc-2")
    expected = {
        "project": 7,
        "url": "http://127.0.0.1:9090",
        "title": "enc-2",
        "is_interactive": True,
        "extra_params": None,
        "auth_method": "NONE",
    }
    assert server.requests[-1] == Request("PATCH", "/api/ml/3", f"Token {KEY}", expected)
    locked = BACKEND | {"auth_method": "BASIC_AUTH", "basic_auth_user": "u"}
    asking.ml_backends.update(MLBackend.from_json(locked), interactive=False)
    login = {"auth_method": "BASIC_AUTH", "basic_auth_user": "u", "basic_auth_pass": ""}
    assert server.requests[-1].body == expected | login | {
        "title": "enc-1",
        "is_interactive": False,
    }


def test_backend_that_is_down_is_not_connected() -> None:
    states = {"CO": True, "TR": True, "PR": True, "DI": False, "ER": False}
    found = {
        state: MLBackend.from_json(BACKEND | {"state": state}).is_connected for state in states
    }
    assert found == states


def test_predictions_are_requested_for_all_or_some_tasks(server: Server) -> None:
    asking = server.connect()
    asking.predictions.retrieve(7)
    asking.predictions.retrieve(7, [3, 5])
    path = "/api/dm/actions/?id=retrieve_tasks_predictions&project=7"
    assert [(request.path, request.body["selectedItems"]) for request in server.requests] == [
        (path, {"all": True}),
        (path, {"all": False, "included": [3, 5]}),
    ]


def test_feature_flags_are_read_from_their_page(server: Server) -> None:
    page = '<pre>{"a": true, "b": false, "$system": {"VERSION_EDITION": "Community"}}</pre>'
    server.answers((200, page))
    asking = server.connect()
    assert asking.read_feature_flags() == {"a": True, "b": False}
    server.answers((403, ""))
    assert asking.read_feature_flags() is None
    for odd in ("<html>log in</html>", "<pre>{not json}</pre>"):
        server.answers((200, odd))
        assert failure(asking.read_feature_flags).kind == "foreign"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("http://localhost:8080/", "http://localhost:8080"),
        (" localhost:8080 ", "http://localhost:8080"),
        ("127.0.0.1:8080/projects/3/data?tab=4#x", "http://127.0.0.1:8080"),
        ("https://Host.example/ls/user/account", "https://host.example/ls"),
        ("https://host.example/a/b/", "https://host.example/a/b"),
        ("http://[::1]:8080/api/", "http://[::1]:8080"),
    ],
)
def test_addresses_are_normalized(typed: str, meant: str) -> None:
    assert normalize_url(typed) == meant
    assert normalize_url(meant) == meant


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "host.example",
        "ftp://host",
        "http://",
        "http:/h",
        "http://h:99999",
        "http://u:secret@host",
        "http://a..b",
        f"http://{'a' * 64}.example",
    ],
)
def test_invalid_address_is_refused_without_quoting_it(typed: str) -> None:
    error = failure(lambda: connect(typed, KEY))
    assert error.kind == "address"
    assert "secret" not in str(error)


def test_unusable_address_is_reported() -> None:
    error = failure(connect("http://a\0b", KEY).whoami)
    assert error.kind == "address"


@given(st.text() | st.text().map("http://".__add__))
def test_any_text_is_an_address_or_refused(typed: str) -> None:
    with contextlib.suppress(LabelStudioError):
        meant = normalize_url(typed)
        assert normalize_url(meant) == meant
        assert meant.startswith(("http://", "https://"))


def test_time_limits_are_set() -> None:
    assert 0 < http_client.CONNECT_TIMEOUT_SECONDS < http_client.READ_TIMEOUT_SECONDS < 60
