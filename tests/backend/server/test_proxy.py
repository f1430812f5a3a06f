"""The server behind nginx, with the configuration of docs/deployment.md."""

import json
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tagalong.backend.server import http_server
from tagalong.backend.server.app import create_app
from tagalong.backend.server.guess_limiter import MAX_WRONG_GUESSES
from tagalong.backend.server.request_checks import find_body_limit
from tagalong.backend.server.service import Service
from tagalong.backend.server.settings import Credentials
from tests.backend.server.app_client import ABSTRACT, regions, request_for, settings_in
from tests.backend.server.wsgi_server import serve_wsgi
from tests.errors import assert_wording
from tests.html_page import Page
from tests.lexicon_tagger import load_lexicon
from tests.nginx import SERVER_NAME, make_certificate, start_nginx

LOGIN = ("studio", "password")
SITE = f"https://{SERVER_NAME}"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server that serves the documented name and has a login."""
    settings = settings_in(
        tmp_path_factory.mktemp("server"),
        server_names=frozenset({SERVER_NAME}),
        credentials=Credentials(*LOGIN),
    )
    app = create_app(settings, load=load_lexicon)
    service: Service = app.extensions["tagalong"]
    service.model_pool.find("encoder")._first_load_done.wait(30)
    try:
        with serve_wsgi(
            app,
            threads=4,
            find_body_limit=partial(find_body_limit, limits=settings.limits),
            max_received_bytes=settings.limits.max_total_body_bytes,
        ) as port:
            yield port
    finally:
        service.close()


@contextmanager
def open_client(
    url: str, *, address: str = "127.0.0.1", verify: Any = True
) -> Iterator[httpx.Client]:
    """A client with its own address, which asks for the documented name."""
    transport = httpx.HTTPTransport(local_address=address, verify=verify)
    headers = {"Host": SERVER_NAME}
    with httpx.Client(
        base_url=url, transport=transport, auth=LOGIN, headers=headers, timeout=60.0
    ) as client:
        yield client


@pytest.fixture(scope="module")
def client(port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of nginx with TLS."""
    folder = tmp_path_factory.mktemp("nginx")
    trusted = ssl.create_default_context(cafile=make_certificate(folder))
    with start_nginx(folder, port, tls=True) as url, open_client(url, verify=trusted) as client:
        yield client
    # A body or an answer in a file of nginx is a warning in its log.
    assert "temporary file" not in (folder / "error.log").read_text()


def assert_passed_on(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert_wording(answer.json()["error"], code)


def test_requests_reach_the_server(client: httpx.Client) -> None:
    assert client.get("/health").json()["status"] == "UP"
    assert client.get("/ready").json() == {"status": "READY"}
    body = request_for(ABSTRACT, "x " * 200_000, *[ABSTRACT * 500] * 20)
    expected = regions(client.post("/predict", json=request_for(ABSTRACT)).json())
    assert expected[0]
    assert regions(client.post("/predict", json=body).json())[0] == expected[0]
    sent = json.dumps(request_for(ABSTRACT)).encode()
    chunks = (sent[start : start + 50] for start in range(0, len(sent), 50))
    answer = client.post("/predict", content=chunks)
    assert "Content-Length" not in answer.request.headers
    assert regions(answer.json()) == expected


def test_page_shows_the_address_of_the_proxy(client: httpx.Client) -> None:
    accept = {"Accept": "text/html"}
    assert SITE in client.get("/", headers=accept).text
    assert client.get("/encoder", headers=accept).headers["Location"] == f"{SITE}/encoder/"


def test_own_pages_are_let_in_and_others_are_not(client: httpx.Client) -> None:
    own = {"Origin": SITE}
    assert client.post("/predict", json=request_for(ABSTRACT), headers=own).status_code == 200
    other = client.post("/predict", json={}, headers={"Origin": "https://evil.example"})
    assert_passed_on(other, 403, "cross-site-request")
    assert_passed_on(client.get("/health", headers={"Host": "x.example"}), 421, "host-not-served")


def test_refusals_keep_their_sentence(client: httpx.Client) -> None:
    for _ in range(5):  # nginx still sends when the answer comes
        assert_passed_on(client.post("/setup", content=bytes(3_000_000)), 413, "body-too-large")
        chunks = (bytes(100_000) for _ in range(30))
        assert_passed_on(client.post("/setup", content=chunks), 413, "body-too-large")
    assert_passed_on(client.post("/setup", content=b"{"), 400, "body-not-json")
    refused = client.post("/setup", json={}, auth=("studio", "wrong"))
    assert_passed_on(refused, 401, "wrong-credentials")
    assert refused.headers["WWW-Authenticate"].startswith("Basic ")
    not_ready = client.get("/llm/ready")
    assert_passed_on(not_ready, 503, "no-version-served")
    assert int(not_ready.headers["Retry-After"]) > 0


@pytest.mark.slow
def test_slow_clients_get_408(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "STALL_SECONDS", 0.5)

    def stall() -> Iterator[bytes]:
        yield b"{"
        time.sleep(3)
        yield b"}"

    assert_passed_on(client.post("/setup", content=stall()), 408, "request-too-slow")


def test_path_prefix(port: int, tmp_path: Path) -> None:
    prefix = {
        "location / {": "location /tagalong/ { proxy_set_header X-Forwarded-Prefix /tagalong;",
        "http://tagalong;": "http://tagalong/;",
    }
    with start_nginx(tmp_path, port, changes=prefix) as url, open_client(url) as client:
        assert client.get("/tagalong/health").status_code == 200
        answer = client.get("/tagalong/", headers={"Accept": "text/html"})
        assert f"http://{SERVER_NAME}/tagalong" in answer.text
        links = [link for link in Page(answer.text).values("href") if link and link.startswith("/")]
        assert "/tagalong/metrics" in links
        assert {client.get(link).status_code for link in links} == {200}


def test_guessers_lock_out_nobody_else(port: int, tmp_path: Path) -> None:
    with (
        start_nginx(tmp_path, port) as url,
        open_client(url, address="127.0.0.2") as guesser,
        open_client(url, address="127.0.0.3") as label_studio,
    ):
        forged = {"X-Forwarded-For": "127.0.0.3"}
        for number in range(MAX_WRONG_GUESSES):
            login = ("studio", str(number))
            assert guesser.get("/metrics", auth=login, headers=forged).status_code == 401
        limited = guesser.get("/metrics", headers=forged)
        assert_passed_on(limited, 429, "too-many-wrong-passwords")
        assert int(limited.headers["Retry-After"]) > 0
        assert label_studio.get("/metrics").status_code == 200
        assert guesser.get("/metrics", headers=forged).status_code == 429


@pytest.mark.slow
def test_idle_connections_outlast_those_of_a_proxy(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nginx closes an idle connection after 60 s; a request into a closing one would get 502."""
    assert http_server.IDLE_SECONDS > 60
    monkeypatch.setattr(http_server, "STALL_SECONDS", 0.1)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        client.get("/health")
        time.sleep(2.5)  # the server looks every second
        (connection,) = client._transport._pool.connections  # type: ignore[attr-defined]
        assert not connection.has_expired()  # closed by the server


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ({"X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/a"}, "https://localhost:1/a"),
        ({"X-Forwarded-Proto": "http, https"}, "https://localhost:1"),
        ({"X-Forwarded-Host": "evil", "Script-Name": "/evil"}, "http://localhost:1"),
    ],
)
def test_forwarded_headers(port: int, headers: dict[str, str], address: str) -> None:
    headers = headers | {"Host": "localhost:1", "Accept": "text/html"}
    answer = httpx.get(f"http://127.0.0.1:{port}/", auth=LOGIN, headers=headers)
    assert f">{address}<" in answer.text
