"""Files of tasks: whatever the spelling, Label Studio is asked with its key for nothing else."""

import re
from collections.abc import Iterator
from posixpath import normpath
from string import ascii_letters
from urllib.parse import unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.stored_files import StoredFiles
from tagalong.backend.label_studio.task_text import TaskTextReader
from tagalong.ner.errors import InputError
from tests.backend.web_server import Page, WebServer, serve_pages
from tests.errors import raises

CONFIG = LabelConfig(
    "label", "text", "abstract", ("Disease",), {"Disease": "Disease"}, text_encoding="url"
)
FILES = {
    "/data/upload/1/a.txt": "/data/upload/1/a.txt",
    "/data/upload/12/0f3a-na%C3%AFve_1.txt": "/data/upload/12/0f3a-naïve_1.txt",
    "/data/local-files/?d=a/b%20c.txt": "/data/local-files?x=1&d=a/b c.txt",
    "/storage-data/uploaded/?filepath=upload/1/a": "/storage-data/uploaded?filepath=upload%2F1%2Fa",
    "/tasks/7/resolve/?fileuri=czM6Ly9iL2E%3D": "/tasks/7/resolve/?fileuri=czM6Ly9iL2E=",
    "/projects/2/resolve/?fileuri=s3%3A//b/a": "/projects/2/resolve/?fileuri=s3://b/a",
}
FORBIDDEN = [
    "/api/invite",
    "/api/invite?token=/data/upload/1/a.txt",
    "/api/invite#/data/upload/1/a.txt",
    "/api/invite/../invite",
    "/API/invite",
    "",
    "/",
    "/?/data/upload/1/a.txt",
    "/version",
    "/admin/",
    "/user/account",
    "/api/users/1/avatar/",
    "/data/avatars/1.png",
    "/data/upload",
    "/data/upload/",
    "/data/upload/1/",
    "/data/upload/../../api/invite",
    "/data/upload/1/../../../api/invite",
    "/data/upload/%2e%2e/%2e%2e/api/invite",
    "/data/upload/.%2E/%2e./api/invite",
    "/data/upload/..%2f..%2fapi%2finvite",
    "/data/upload/%2e%2e%2f%2e%2e%2fapi%2finvite",
    "/data/upload/%252e%252e/%252e%252e/api/invite",
    "/data/upload/..%252f..%252fapi/invite",
    "/data/upload/..%c0%af..%c0%afapi/invite",
    "/data/upload/%c0%ae%c0%ae/api/invite",
    "/data/upload/\uff0e\uff0e/\uff0e\uff0e/api/invite",
    "/data/upload/..;/..;/api/invite",
    "/data/upload/..;a=b/..;a=b/api/invite",
    "/data/upload/1/a.txt;/../../../../api/invite",
    "/data/upload/1/a.txt%00/../../../../api/invite",
    "/data/upload/1/a.txt%0d%0aHost:x",
    "/data/upload/1/a.txt%3f/../../../api/invite",
    "/data/upload/1/a.txt%23/../../../api/invite",
    "/data/upload/\\..\\..\\api\\invite",
    "/data/upload/%5c..%5c..%5capi%5cinvite",
    "/data/upload/./../api/invite",
    "/data/upload/.../api/..../invite",
    "/data/upload//../../api/invite",
    "/data/upload//1/a.txt",
    "/data//upload/1/a.txt",
    "/./api/./invite",
    "/data/uploads/1/a.txt",
    "/x/data/upload/1/a.txt",
    "/x/data/local-files/?d=a",
    "/data/local-files/",
    "/data/local-files/?e=a",
    "/data/local-files/?d=",
    "/data/local-files/../../api/invite?d=a",
    "/data/local-files/x?d=a",
    "/storage-data/metrics/",  # Label Studio's route of its metrics
    "/storage-data/version/?filepath=a",
    "/storage-data/uploaded/",
    "/storage-data/uploaded/../../api/invite?filepath=a",
    "/tasks/7/resolve/",
    "/tasks/x/resolve/?fileuri=a",
    "/tasks/٧/resolve/?fileuri=a",
    "/tasks/-7/resolve/?fileuri=a",
    "/tasks/7/?fileuri=a",
    "/projects/2/settings/?fileuri=a",
    "/projects/2/resolve/../../../api/invite?fileuri=a",
    "/api/projects/2/resolve/?fileuri=a",
]
# Spellings of 127.0.0.1 that some client or operating system understands.
LOOPBACK_NAMES = [
    "127.0.0.1",
    "127.0.0.1.",
    "localhost",
    "LocalHost",
    "localhost.",
    "a.localhost",
    "127.1",
    "2130706433",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "127.000.000.001",
    "0.0.0.0",
    "0",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::FFFF:7f00:1]",
    "[::]",
]


@pytest.fixture(scope="module")
def web() -> Iterator[WebServer]:
    with serve_pages({path: Page(b"text") for path in FILES}) as web:
        yield web


def make_reader(
    web: WebServer, *, prefix: str = "", key: str | None = "Token secret"
) -> TaskTextReader:
    port = web.server_address[1]
    return TaskTextReader(
        frozenset(f"{name}:{port}" for name in LOOPBACK_NAMES),
        label_studio_url=f"http://{web.host}{prefix}",
        authorization=None if key is None else lambda: key,
    )


def read(reader: TaskTextReader, address: str) -> str:
    task = {"id": 7, "data": {"abstract": address}}
    return reader.read_document(task, CONFIG).text


@pytest.mark.parametrize("name", ["", *LOOPBACK_NAMES])
@pytest.mark.parametrize("scheme", ["http", "HTTPS"])
def test_files_are_requested_from_the_configured_server(
    web: WebServer, name: str, scheme: str
) -> None:
    web.requests.clear()
    host = name and f"{scheme}://{name}:{web.server_address[1]}"
    for spelling in FILES.values():
        assert read(make_reader(web), host + spelling) == "text"
    assert [path for path, _ in web.requests] == list(FILES)
    for _, headers in web.requests:
        assert (headers["Host"], headers["Authorization"]) == (web.host, "Token secret")


@pytest.mark.parametrize("path", FORBIDDEN)
def test_nothing_else_on_the_host_is_requested(web: WebServer, path: str) -> None:
    web.requests.clear()
    port, messages = web.server_address[1], set()
    hosts = [f"http://{web.host}", f"//{web.host}", f"HTTPS://{web.host}", *[""] * bool(path)]
    hosts += [f"http://{name}:{port}" for name in LOOPBACK_NAMES]
    for key in (None, "Token secret"):
        for host in hosts:
            with pytest.raises(InputError) as refusal:
                read(make_reader(web, key=key), host + path)
            messages.add(str(refusal.value))
            assert refusal.value.code in {"text-not-in-file", "invalid-web-address"}
    assert web.requests == []
    assert len(messages) == 1  # the same for all paths that exist, and all that do not


@pytest.mark.parametrize(
    "address",
    [
        "http://me@{host}/api/invite",
        "http://me:pw@{host}/data/upload/1/a.txt",
        "http://{host}@evil.example/data/upload/1/a.txt",
        "http://evil.example#@{host}/data/upload/1/a.txt",
        "http://evil.example\\@{host}/data/upload/1/a.txt",
        "http://evil.example/data/upload/1/a.txt",
        "//evil.example/data/upload/1/a.txt",
        "/\\evil.example/data/upload/1/a.txt",
        "/\t/{host}/api/invite",
        "\t/api/invite",
        "/api\t/invite",
        "/data/upload/1/a.txt HTTP/1.1\r\nX: y",
        "http:{host}/api/invite",
        "http:/{host}/api/invite",
        "http:///{host}/api/invite",
        "http://{host}%2fapi/invite",
        "http://%31%32%37.0.0.1/api/invite",
        "http://[fe80::1%25lo]/api/invite",
        "http://１２７.0.0.1/api/invite",
        "api/invite",
    ],
)
def test_ambiguous_and_foreign_addresses_get_no_request(web: WebServer, address: str) -> None:
    web.requests.clear()
    with pytest.raises(InputError):
        read(make_reader(web), address.format(host=web.host))
    assert web.requests == []


def test_refusal_does_not_depend_on_allowed_hosts(web: WebServer) -> None:
    reader = TaskTextReader(label_studio_url=f"http://{web.host}")
    with raises(InputError, "text-not-in-file"):
        read(reader, f"http://{web.host}/api/invite")
    with raises(InputError, "text-host-not-allowed"):
        read(reader, f"http://{web.host}/data/upload/1/a.txt")


@pytest.mark.parametrize("page", ["", "/", "/projects/3/data?tab=1"])
def test_key_goes_only_below_the_prefix_of_label_studio(web: WebServer, page: str) -> None:
    reader = make_reader(web, prefix=f"/label studio{page}")
    web.requests.clear()
    web.pages["/label%20studio/data/upload/1/a.txt"] = Page(b"prefixed")
    assert read(reader, "/label%20studio/data/upload/1/a.txt") == "prefixed"
    assert read(reader, f"http://{web.host}/x/../label studio/data/upload/1/a.txt") == "prefixed"
    assert [headers["Authorization"] for _, headers in web.requests] == ["Token secret"] * 2
    for path in (
        "/data/upload/1/a.txt",
        "/other/data/upload/1/a.txt",
        "/label%20studiox/data/upload/1/a.txt",
        "/label%20studio/api/invite",
        "/label%20studio/../data/upload/1/a.txt",
        "/label%20studio/%2e%2e/data/upload/1/a.txt",
    ):
        with raises(InputError, "text-not-in-file"):
            read(reader, path)
    assert len(web.requests) == 2


@pytest.mark.parametrize(
    ("own", "address", "same"),
    [
        ("http://ls.example", "https://LS.example./x", True),
        ("https://ls.example", "http://ls.example:80/x", True),
        ("https://ls.example", "http://ls.example:8080/x", False),
        ("http://ls.example:8080", "https://ls.example:8080/x", True),
        ("http://ls.example", "http://a.ls.example/x", False),
        ("http://bücher.example", "http://XN--BCHER-KVA.example/x", True),
        ("http://10.0.0.1", "http://167772161/x", True),
        ("http://10.0.0.1", "http://[::ffff:a00:1]/x", True),
        ("http://10.0.0.1", "http://10.0.0.2/x", False),
        ("http://[2001:db8::1]", "http://[2001:DB8:0::0001]/x", True),
        ("http://localhost:8080", "http://127.0.0.1:8080/x", True),
        ("http://localhost:8080", "http://127.0.0.1:9000/x", False),
    ],
)
def test_host_is_recognised_in_other_spellings(own: str, address: str, same: bool) -> None:
    files = StoredFiles.parse(own)
    assert files.is_on_host(StoredFiles.parse(address).server) == same


def is_file(target: str) -> bool:
    """Whether a request is for a file, however often a server decodes and normalises its path."""
    path, _, query = target.partition("?")
    readings = {path}
    for _ in range(3):
        readings |= {unquote(reading) for reading in readings}
        readings |= {normpath(reading.replace("\\", "/")) for reading in readings}
    return all(
        re.fullmatch(r"/data/upload/.+", reading)
        or (re.fullmatch(r"/data/local-files/?", reading) and query.startswith("d="))
        or (re.fullmatch(r"/storage-data/uploaded/?", reading) and query.startswith("filepath="))
        or (re.fullmatch(r"/(tasks|projects)/\d+/resolve/?", reading) and "fileuri=" in query)
        for reading in readings
    )


def test_the_check_of_this_file_finds_other_requests() -> None:
    assert all(map(is_file, FILES))
    assert not any(map(is_file, ("/api/invite", "/data/upload/..%252f../api/invite", "/x?d=a")))


@st.composite
def spellings(draw: st.DrawFn) -> str:
    """Addresses on the host, made of routes and of what parsers read in different ways."""
    routes = st.sampled_from([*FILES, *FILES.values(), *FORBIDDEN])
    joints = ["/", "//", "/../", "/./", "..", "%2e%2e/", "..%2f", "%252f", "/..;/", ";a/", "é", " "]
    joints += ["%5c", "%00", "?", "#", "%3f", "%23", "&d=", "@", "\\", "\t", "/../../data/upload/a"]
    pieces = st.one_of(routes, st.sampled_from(joints), st.text(max_size=2))
    path = draw(routes) + "".join(draw(st.lists(pieces, max_size=3)))
    for character in draw(st.sets(st.sampled_from("./%;?adpu"), max_size=2)):
        path = path.replace(character, f"%{draw(st.sampled_from(['', '25']))}{ord(character):02x}")
    if draw(st.booleans()):
        return path
    scheme = draw(st.sampled_from(["http://", "HTTP://", "https://", "//", "http:/", "http:"]))
    user = draw(st.sampled_from(["", "", "", "me@", "evil:80@", "{name}@"]))
    name = draw(st.sampled_from([*LOOPBACK_NAMES, "evil.example"]))
    port = draw(st.sampled_from([":{port}", ":{port}", ":0{port}", "", ":80"]))
    return scheme + user + name + port + draw(st.sampled_from(["", "/"])) + path


@settings(max_examples=300)
@given(spellings(), st.booleans())
@example("/api/invite", True)
@example("/data/upload/..%2f..%2fapi/invite", True)
def test_only_files_are_requested_whatever_the_spelling(
    web: WebServer, spelling: str, has_key: bool
) -> None:
    web.requests.clear()
    address = spelling.replace("{port}", str(web.server_address[1]))
    try:
        read(make_reader(web, key="Token secret" if has_key else None), address)
    except InputError as refusal:
        assert str(refusal).startswith("task 7")  # noqa: PT017
    for target, headers in web.requests:
        assert is_file(target)
        assert headers.get("Authorization") == ("Token secret" if has_key else None)
        assert headers["Host"] == web.host


@given(st.sampled_from(sorted(FILES)), st.data())
def test_escapes_do_not_hide_files(web: WebServer, path: str, data: st.DataObject) -> None:
    web.requests.clear()
    letters = data.draw(st.sets(st.sampled_from(ascii_letters)))
    route, mark, query = path.partition("?")
    route = re.sub(
        r"(?<!%)(?<!%.)[A-Za-z]",
        lambda match: f"%{ord(match[0]):02X}" if match[0] in letters else match[0],
        route,
    )
    assert read(make_reader(web), f"{route}{mark}{query}") == "text"
    assert [target for target, _ in web.requests] == [path]
