"""Hosts and origins of requests: pages of other sites are refused, Label Studio never is."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tagalong.backend.server.request_checks import is_loopback
from tests.backend.server.app_client import (
    ABSTRACT,
    assert_refused,
    post_json,
    request_for,
    serve_app,
    settings_in,
)

CHANGES = ["/setup", "/predict", "/webhook", "/train", "/versions", "/job_status", "/llm/setup"]
URL = "http://localhost:9090"
OTHER_SITES = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://localhost:8080"},
    {"Origin": "http://localhost:9090.evil.example"},
    {"Origin": "http://[evil"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "Cross-Site"},
    {"Sec-Fetch-Site": ""},
    {"Sec-Fetch-Site": "cross-site", "Origin": URL},
    {"Sec-Fetch-Site": "none", "Origin": "https://evil.example"},
]
OWN_PAGES = [
    {},
    {"Origin": URL},
    {"Sec-Fetch-Site": "same-origin", "Origin": URL},
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://tagalong.example"},  # Host of nginx
    {"Sec-Fetch-Site": "none"},
    {"Origin": "https://tagalong.example", "X-Forwarded-Host": "tagalong.example"},
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    names = frozenset({"tagalong.example"})
    folder = tmp_path_factory.mktemp("server")
    with serve_app(settings_in(folder, server_names=names)) as client:
        yield client


@pytest.mark.parametrize("path", CHANGES)
@pytest.mark.parametrize("headers", OTHER_SITES, ids=repr)
def test_changes_for_pages_of_other_sites_are_refused(
    client: FlaskClient, path: str, headers: dict[str, str]
) -> None:
    answer = post_json(client, path, {}, headers=headers, base_url=URL)
    assert_refused(answer, 403, "cross-site-request")
    assert client.get("/health", headers=headers, base_url=URL).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_unknown_routes_and_methods_are_refused_too(client: FlaskClient, method: str) -> None:
    for path in ("/setup", "/unknown"):
        answer = client.open(path, method=method, headers=OTHER_SITES[0], base_url=URL)
        assert_refused(answer, 403, "cross-site-request")


@pytest.mark.parametrize("headers", OWN_PAGES, ids=repr)
def test_programs_and_own_pages_are_let_in(client: FlaskClient, headers: dict[str, str]) -> None:
    body = request_for(ABSTRACT)
    assert post_json(client, "/predict", body, headers=headers, base_url=URL).status_code == 200


GOOD_HOSTS = [
    "localhost",
    "localhost:9090",
    "LOCALHOST:80",
    "localhost.",
    "backend.localhost:9090",
    "127.0.0.1",
    "127.0.0.1:9090",
    "127.8.9.10:1",
    "[::1]",
    "[::1]:9090",
    "[::ffff:127.0.0.1]:9090",
    "host.docker.internal:9090",
    "host.containers.internal:9090",
    "tagalong.example",
    "Tagalong.Example:443",
]
BAD_HOSTS = [
    "evil.example",
    "evil.example:9090",
    "localhost.evil.example",
    "evil-localhost",
    "127.0.0.1.evil.example",
    "128.0.0.1",
    "10.0.0.1:9090",
    "[::2]:9090",
    "[fe80::1]",
    "localhost@evil.example",
    "localhost, evil.example",
    "localhost/x",
    "local host",
    "::1",
    "",
    ":9090",
    "0x7f000001",
]


@pytest.mark.parametrize("host", GOOD_HOSTS)
def test_own_hosts_are_served(client: FlaskClient, host: str) -> None:
    for path in ("/health", "/ready", "/"):
        assert client.get(path, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", BAD_HOSTS)
@pytest.mark.parametrize("path", ["/health", "/", "/metrics", "/setup", "/unknown"])
def test_other_hosts_are_refused(client: FlaskClient, host: str, path: str) -> None:
    method = "POST" if path == "/setup" else "GET"
    answer = client.open(path, method=method, headers={"Host": host})
    assert_refused(answer, 421, "host-not-served")
    assert "evil" not in answer.get_data(as_text=True)


def test_any_host_is_served_without_names(tmp_path: Path) -> None:
    with serve_app(settings_in(tmp_path)) as client:
        assert client.get("/health", headers={"Host": "studio.example"}).status_code == 200


def test_a_request_without_host_is_served(client: FlaskClient) -> None:
    environ = {"HTTP_HOST": None}
    assert client.get("/health", environ_overrides=environ).status_code == 200


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_loopback_addresses(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
