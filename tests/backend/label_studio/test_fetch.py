"""Fetching: complete answers only, from allowed hosts only, within time limits."""

from collections.abc import Iterator
from pathlib import Path
from threading import active_count
from time import sleep

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tagalong.backend.label_studio.fetch import (
    MAX_CONCURRENT_FETCHES,
    Fetcher,
    parse_allowed_host,
    parse_web_address,
)
from tagalong.ner.errors import InputError
from tests.backend.web_server import (
    Page,
    WebServer,
    chunked_page,
    cut_off_page,
    endless_page,
    gzip_page,
    serve_pages,
)
from tests.errors import raises

PEM = Path(__file__).parents[2] / "samples" / "self_signed.pem"
START = b"HTTP/1.1 200 OK\r\n"
TEXT = "β-cell 😀\r\n".encode()
PAGES = {
    "/text": Page(TEXT),
    "/empty": Page(),
    "/packed": gzip_page(TEXT * 1000),
    "/chunks": chunked_page(TEXT),
    "/until-closed": cut_off_page(b"HTTP/1.0 200 OK\r\n\r\n" + TEXT),
    "/missing": Page(TEXT, status=404),
    "/broken": Page(TEXT, status=500),
    "/there": Page(status=302, headers={"Location": "/text"}),
    "/huge": Page(b"x" * 30_001),
    "/bomb": gzip_page(b"x" * 10_000_000),
    "/too-short": Page(TEXT, length=len(TEXT) + 1),
    "/half-a-chunk": chunked_page(TEXT, whole=False),
    "/nothing": cut_off_page(b""),
    "/nonsense": cut_off_page(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "/not-gzip": Page(TEXT, headers={"Content-Encoding": "gzip"}),
    "/slow-status": endless_page(b"HTTP/1.1 200 "),
    "/slow-header": endless_page(START + b"A: "),
    "/slow-body": endless_page(START + b"\r\n"),
    "/slow-chunk": endless_page(START + b"Transfer-Encoding: chunked\r\n\r\nffff\r\n"),
}


@pytest.fixture(scope="module")
def web() -> Iterator[WebServer]:
    with serve_pages(PAGES) as web:
        yield web


def fetch(web: WebServer, path: str, *, scheme: str = "http", seconds: float = 20.0) -> bytes:
    fetcher = Fetcher(max_bytes=30_000, timeout_seconds=seconds)
    return fetcher.fetch(parse_web_address(f"{scheme}://{web.host}{path}"), {})


@pytest.mark.parametrize("path", ["/text", "/chunks", "/until-closed"])
def test_content_is_unchanged(web: WebServer, path: str) -> None:
    assert fetch(web, path) == TEXT


def test_content_may_be_empty_or_compressed(web: WebServer) -> None:
    assert fetch(web, "/empty") == b""
    assert fetch(web, "/packed") == TEXT * 1000


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/missing", "404"),
        ("/broken", "500"),
        ("/there", "302"),
        ("/huge", "30,000"),
        ("/bomb", "30,000"),
        ("/too-short", ""),
        ("/half-a-chunk", ""),
        ("/nothing", ""),
        ("/nonsense", ""),
        ("/not-gzip", ""),
    ],
)
def test_incomplete_answers_are_refused(web: WebServer, path: str, reason: str) -> None:
    web.requests.clear()
    with raises(InputError, "fetch-failed") as refusal:
        fetch(web, path)
    assert [requests for requests, _ in web.requests] == [path]
    assert str(refusal.value).startswith(web.host)
    assert reason in str(refusal.value)
    assert path not in str(refusal.value)


@pytest.mark.parametrize("path", ["/slow-status", "/slow-header", "/slow-body", "/slow-chunk"])
def test_time_limit_covers_the_whole_request(web: WebServer, path: str) -> None:
    """Each byte arrives soon, so a limit on single reads would not end the request."""
    with raises(InputError, "fetch-timeout"):
        fetch(web, path, seconds=0.3)


def test_failed_requests_free_their_slots(web: WebServer) -> None:
    fetcher = Fetcher(max_bytes=100, timeout_seconds=20.0)
    for path in ("/missing", "/huge", "/nothing"):
        for _ in range(MAX_CONCURRENT_FETCHES):
            with pytest.raises(InputError):
                fetcher.fetch(parse_web_address(f"http://{web.host}{path}"), {})
    assert fetcher.fetch(parse_web_address(f"http://{web.host}/text"), {}) == TEXT


def test_abandoned_threads_end_and_free_slots(web: WebServer) -> None:
    fetcher = Fetcher(max_bytes=100, timeout_seconds=0.3)
    before = active_count()
    for _ in range(3):
        with pytest.raises(InputError):
            fetcher.fetch(parse_web_address(f"http://{web.host}/slow-header"), {})
    while active_count() > before:  # else the test hangs, and says where
        sleep(0.01)
    assert fetcher.fetch(parse_web_address(f"http://{web.host}/text"), {}) == TEXT


def test_unused_port_is_reported(web: WebServer) -> None:
    with serve_pages({}) as gone:
        address = parse_web_address(f"http://{gone.host}/")
    with raises(InputError, "fetch-failed"):
        Fetcher(max_bytes=100, timeout_seconds=20.0).fetch(address, {})


def test_untrusted_certificate_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_pages(PAGES, pem=str(PEM)) as web:
        with raises(InputError, "fetch-failed"):
            fetch(web, "/text", scheme="https")
        monkeypatch.setenv("SSL_CERT_FILE", str(PEM))
        assert fetch(web, "/text", scheme="https") == TEXT


def test_ipv6_address_is_fetched() -> None:
    with serve_pages(PAGES, name="::1") as web:
        assert fetch(web, "/text") == TEXT
        assert web.requests[0][1]["Host"] == web.host


def test_proxies_and_netrc_are_ignored(
    web: WebServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    web.requests.clear()
    with serve_pages({}) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://{proxy.host}")
        assert fetch(web, "/text") == TEXT
        assert proxy.requests == []
    assert "Authorization" not in web.requests[0][1]


@pytest.mark.parametrize(
    ("text", "host", "port", "path"),
    [
        ("http://a.org", "a.org", 80, "/"),
        ("HTTPS://A.Org/B?c=D#e", "a.org", 443, "/B?c=D"),
        ("http://[::1]:8080/x y", "[::1]", 8080, "/x%20y"),
        ("http://bücher.example/é", "xn--bcher-kva.example", 80, "/%C3%A9"),
        # The host ends at "#" or "?".
        ("http://evil#@allowed/", "evil", 80, "/"),
        ("http://evil?@allowed/", "evil", 80, "/?@allowed/"),
    ],
)
def test_address_is_parsed(text: str, host: str, port: int, path: str) -> None:
    address = parse_web_address(text)
    assert (address.host, address.port, address.path) == (host, port, path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "file:///etc/passwd",
        "data:text/plain,secret",
        "ftp://allowed/x",
        "s3://bucket/key",
        "javascript:fetch('http://allowed')",
        "//allowed/x",
        "/data/upload/1/x.txt",
        "http:allowed/x",
        "http:///x",
        "http://[::1/x",
        "http://allowed:99999/",
        "http://evil\\@allowed/",
        "http://allowed\t/",
        "http://allowed/\r\nHost: evil",
        "http://allowed\0.evil/",
        " http://allowed/",
        "http://allowed%A0/",
        "http://[fe80::1%25allowed]/",
        "http://al lowed/",
        "http://ａllowed/",
        "http://allowed@evil/",
        "http://allowed:80@evil/",
        "http://user:secret@allowed/",
    ],
)
def test_invalid_addresses_are_refused_without_quoting_them(text: str) -> None:
    with pytest.raises(InputError) as refusal:
        parse_web_address(text)
    assert "allowed" not in str(refusal.value)
    assert "secret" not in str(refusal.value)


@given(st.one_of(st.text(), st.text(alphabet="htp:/@[]#?\\.a1%\ud800é").map("http://".__add__)))
@example("http://" + "a" * 70_000)
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        address = parse_web_address(text)
    except InputError:
        return
    assert address.host == address.host.lower()
    assert not set(address.host) & set("@/\\#?% ")
    assert address.path.startswith("/")
    assert address.path.isascii()


@pytest.mark.parametrize(
    ("allowed", "text", "meant"),
    [
        ("A.org", "http://a.ORG/x", True),
        ("a.org", "https://a.org/x", True),
        ("a.org", "https://a.org:443/x", True),
        ("a.org", "http://a.org:8080/x", False),
        ("a.org", "http://a.org:443/x", False),
        ("a.org:8080", "http://a.org:8080/x", True),
        ("a.org:8080", "http://a.org/x", False),
        ("a.org:80", "http://a.org/x", True),
        ("a.org", "http://b.a.org/", False),
        ("a.org", "http://a.org.b/", False),
        ("a.org", "http://a.org./", False),
        ("[::1]:80", "http://[::1]/", True),
        ("[::1]", "http://127.0.0.1/", False),
        ("127.0.0.1", "http://2130706433/", False),
        ("127.0.0.1", "http://0x7f.1/", False),
        ("bücher.example", "http://xn--bcher-kva.example/", True),
    ],
)
def test_only_the_exact_host_and_port_is_allowed(allowed: str, text: str, meant: bool) -> None:
    assert parse_web_address(text).is_allowed({parse_allowed_host(allowed)}) == meant


@pytest.mark.parametrize(
    "text",
    ["", "*", "*.org", "a.org/", "a/b", "http://a", "me@a", "::1", "a:x", "a:70000", " a", "a?b"],
)
def test_only_a_host_can_be_allowed(text: str) -> None:
    with raises(InputError, "invalid-allowed-host"):
        parse_allowed_host(text)
