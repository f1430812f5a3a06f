"""Reading tasks: the text of the editor, or an error that quotes nothing of it."""

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tagalong.backend.label_studio.label_config import LabelConfig, TextEncoding
from tagalong.backend.label_studio.label_config_parser import parse_label_config
from tagalong.backend.label_studio.task_text import TaskTextReader
from tagalong.ner.document import Document
from tagalong.ner.errors import FormatError, InputError
from tests.backend.web_server import Page, WebServer, serve_pages
from tests.errors import raises
from tests.odd_documents import texts

CONFIG = LabelConfig("label", "text", "abstract", ("Disease",), {"Disease": "Disease"})
ODD = "\ufeff 😀\r\n  nai\u0308ve β-cell\u2028\0 "
PAGES = {
    "/a": Page(ODD.encode()),
    "/mark": Page(b"\xef\xbb\xbf\xef\xbb\xbfab"),
    "/latin": Page(b"caf\xe9 \xf0\x9f\x98", headers={"Content-Type": "text/plain; charset=latin1"}),
    "/data/upload/1/a.txt": Page(b"uploaded"),
    "/data/local-files/?d=a%20b.txt": Page(b"local"),
    "/away?key=secret": Page(status=302, headers={"Location": "/a"}),
}


@pytest.fixture(scope="module")
def web() -> Iterator[WebServer]:
    with serve_pages(PAGES) as web:
        yield web


def document(value: Any, stored: TextEncoding = "text", **options: Any) -> Document:
    task = {"id": 7, "data": {"abstract": value}}
    return TaskTextReader(**options).read_document(task, replace(CONFIG, text_encoding=stored))


@given(texts)
@example(ODD)
@example("")
def test_text_is_unchanged(text: str) -> None:
    assert document(text) == Document("7", text)


def test_tasks_imported_from_plain_text_have_undefined_key() -> None:
    task = {"id": 7, "data": {"$undefined$": "a"}}
    assert TaskTextReader().read_document(task, CONFIG).text == "a"
    task["data"]["abstract"] = "b"
    assert TaskTextReader().read_document(task, CONFIG).text == "b"


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ({"text": "secret"}, "have 'text'"),
        ({"abstract": None}, "has nothing"),
        ({"abstract": ["secret"], "$undefined$": True}, "'abstract', '$undefined$'"),
        ({"abstract": True}, "true or false under"),
        ({"abstract": ["secret"]}, "an array under"),
        ({"abstract": {"text": "secret"}}, "an object under"),
        (dict.fromkeys("abcdefgh", "secret"), "and 3 more"),
        ({}, "its data have nothing"),
        (None, "its data have nothing"),
        (["abstract"], "its data have nothing"),
    ],
)
def test_task_without_text_error_names_task_and_keys(data: object, value: str) -> None:
    with raises(FormatError, "task-without-text") as refusal:
        TaskTextReader().read_document({"id": 7, "data": data}, CONFIG)
    assert value in str(refusal.value)
    assert "secret" not in str(refusal.value)


def read_value(value: str, data: dict[str, Any]) -> str:
    xml = (
        f'<View><Text name="text" value="{value}"/><Labels name="label" toName="text">'
        '<Label value="Disease"/></Labels></View>'
    )
    return TaskTextReader().read_document({"id": 7, "data": data}, parse_label_config(xml)).text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("$a", "A"),
        ("$report.body", "B"),
        ("$report.notes[1].body", "C"),
        ("$report.year", "1999"),
        ("$literal.key", "D"),
        ("$病历", "E"),
        ("$a-b", "F"),
        ("$a and $report.body", "A and B"),
        ("Year: $report.year", "Year: 1999"),
        ("$a$a", "AA"),
        ("$a-$report.body", "A-B"),
        ("$a, $report.notes[1].body", "A, C"),
    ],
)
def test_value_of_text(value: str, text: str) -> None:
    report = {"body": "B", "year": 1999, "notes": [{}, {"body": "C"}]}
    literal = {"literal.key": "D", "literal": {"key": "no"}, "病历": "E", "a-b": "F"}
    assert read_value(value, {"a": "A", "report": report, **literal}) == text


@pytest.mark.parametrize("value", ["$report.body", "$a and $b", "$a[0]", "$a.b", "$b $a"])
def test_missing_value_is_refused(value: str) -> None:
    with raises(FormatError, "task-without-text"):
        read_value(value, {"a": "A", "report": ["B"]})


@pytest.mark.parametrize("value", ["$a[-1]", "$a-$b", "$größe"])
def test_missing_value_is_named_as_the_config_states_it(value: str) -> None:
    with raises(FormatError, "task-without-text") as refusal:
        read_value(value, {"x": "A"})
    assert f" of value='{value}', " in str(refusal.value)


def test_joined_text_has_a_limit() -> None:
    with raises(InputError, "joined-text-too-long"):
        read_value("$a" * 400, {"a": "A" * 30_000})


@pytest.mark.parametrize("task_id", [{"text": "secret"}, ["secret"], "secret " * 10])
def test_id_that_may_be_a_text_is_not_quoted(task_id: object) -> None:
    with raises(FormatError, "task-without-text") as refusal:
        TaskTextReader().read_document({"id": task_id, "data": {}}, CONFIG)
    assert "secret" not in str(refusal.value)


def test_lone_surrogate_is_refused() -> None:
    with pytest.raises(FormatError, match=r"task 7 has half a character, \\ud83d"):
        document("secret \ud83d")


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["id", "data", "abstract", "$undefined$"]), inner),
    ),
)


@given(
    st.dictionaries(st.sampled_from(["id", "data", "x"]), json_values),
    st.sampled_from(["text", "url", "base64", "base64unicode"]),
)
def test_any_task_is_a_document_or_refused(task: dict[str, Any], stored: TextEncoding) -> None:
    try:
        found = TaskTextReader().read_document(task, replace(CONFIG, text_encoding=stored))
    except InputError as refusal:
        assert str(refusal).startswith("task ")  # noqa: PT017
    else:
        assert found.text.encode() is not None


@given(texts)
@example(ODD)
def test_base64_is_decoded_as_in_the_editor(text: str) -> None:
    encoded = b64encode(text.encode()).decode()
    assert document(encoded, "base64unicode").text == text
    # The encoding "base64" decodes to bytes: the editor shows and counts one character per byte.
    assert document(encoded, "base64").text == text.encode().decode("latin-1")


@pytest.mark.parametrize(
    ("value", "text"),
    [("YQ==", "a"), ("YQ", "a"), (" Y\nQ =\t=\r\f", "a"), ("YR==", "a"), ("", ""), ("YWE=", "aa")],
)
def test_base64_is_decoded_as_leniently_as_in_a_browser(value: str, text: str) -> None:
    assert document(value, "base64").text == text


@pytest.mark.parametrize("value", ["Y", "YQ=", "YQ===", "=", "Y=Q=", "YQ-_", "é", "YQ\u00a0", "\0"])
def test_base64_that_a_browser_rejects_is_refused(value: str) -> None:
    with raises(InputError, "text-not-base64"):
        document(value, "base64")


def test_base64_of_non_utf8_is_refused() -> None:
    with raises(InputError, "text-not-utf8"):
        document(b64encode(b"caf\xe9").decode(), "base64unicode")


def test_text_is_fetched_from_allowed_host(web: WebServer) -> None:
    options: dict[str, Any] = {"allowed_hosts": frozenset({web.host})}
    # A browser drops the byte order mark.
    assert document(f"http://{web.host}/a", "url", **options).text == ODD.removeprefix("\ufeff")
    assert document(f"http://{web.host}/mark", "url", **options).text == "\ufeffab"
    assert document(f"http://{web.host}/latin", "url", **options).text == "caf\ufffd \ufffd"


def test_hosts_are_compared_case_insensitively(web: WebServer) -> None:
    port = web.server_address[1]
    options: dict[str, Any] = {"allowed_hosts": frozenset({f"LocalHost:{port}"})}
    assert document(f"http://LOCALHOST:{port}/mark", "url", **options).text == "\ufeffab"


@pytest.mark.parametrize(
    "address",
    [
        "http://{host}/a",
        "http://allowed@{host}/a",
        "http://allowed:80@{host}/a",
        "http://{host}#@allowed/",
        "http://{host}/a?@allowed/",
        "http://{host}\\@allowed/a",
        "http://127.1:{port}/a",
        "http://2130706433:{port}/a",
        "http://[::ffff:127.0.0.1]:{port}/a",
        "//{host}/a",
        "/\\{host}/a",
        "/\t/{host}/a",
        "file:///etc/hostname",
        "data:text/plain,secret",
        "secret words put where an address should be",
    ],
)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"allowed_hosts": frozenset({"allowed"})},
        {"allowed_hosts": frozenset({"allowed"}), "label_studio_url": "http://allowed/"},
    ],
)
def test_other_hosts_get_no_request(web: WebServer, address: str, options: dict[str, Any]) -> None:
    web.requests.clear()
    port = web.server_address[1]
    with pytest.raises(InputError) as refusal:
        document(address.format(host=web.host, port=port), "url", **options)
    assert str(refusal.value).startswith("task 7: ")
    assert web.requests == []
    assert "secret" not in str(refusal.value)


def test_refusal_names_host_but_not_path(web: WebServer) -> None:
    address = f"http://{web.host}/away?key=secret"
    with raises(InputError, "text-host-not-allowed"):
        document(address, "url")
    with raises(InputError, "fetch-failed") as refusal:
        document(address, "url", allowed_hosts=frozenset({web.host}))
    assert "secret" not in str(refusal.value)


def test_label_studio_files_are_fetched_with_key(web: WebServer) -> None:
    options: dict[str, Any] = {
        "allowed_hosts": frozenset({web.host}),
        "label_studio_url": f"http://{web.host}/",
        "authorization": lambda: "Token secret",
    }
    web.requests.clear()
    assert document("/data/upload/1/a.txt", "url", **options).text == "uploaded"
    assert document("/data/local-files/?d=a b.txt", "url", **options).text == "local"
    assert [headers["Authorization"] for _, headers in web.requests] == ["Token secret"] * 2
    assert "secret" not in repr(TaskTextReader(**options))


def test_key_is_sent_to_no_other_host(web: WebServer) -> None:
    with serve_pages({"/a": Page(b"other")}) as other:
        text = document(
            f"http://{other.host}/a",
            "url",
            allowed_hosts=frozenset({web.host, other.host}),
            label_studio_url=f"http://{web.host}",
            authorization=lambda: "Token secret",
        ).text
        assert text == "other"
        assert not any("Authorization" in headers for _, headers in other.requests)


def test_label_studio_files_need_url_and_permission(web: WebServer) -> None:
    web.requests.clear()
    with raises(InputError, "label-studio-url-missing"):
        document("/data/upload/1/a.txt", "url", allowed_hosts=frozenset({web.host}))
    with raises(InputError, "text-host-not-allowed"):
        document("/data/upload/1/a.txt", "url", label_studio_url=f"http://{web.host}")
    assert web.requests == []


def test_invalid_settings_fail_at_startup() -> None:
    with raises(InputError, "invalid-allowed-host"):
        TaskTextReader(frozenset({"http://files.example.org"}))
    with raises(InputError, "invalid-web-address"):
        TaskTextReader(label_studio_url="localhost:8080")
