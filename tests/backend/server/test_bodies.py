"""Bodies of requests: limits of bytes, of values and of memory, before anything is parsed."""

import io
import json
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tagalong.backend.server.prediction.request import Limits
from tagalong.backend.server.request_checks import (
    MAX_BODIES_IN_PIECES,
    MAX_DEPTH,
    MAX_VALUES_AT_ONCE,
    SMALL_BODY_BYTES,
)
from tests.backend.server.app_client import (
    ABSTRACT,
    assert_refused,
    post_json,
    regions,
    request_for,
    serve_app,
    settings_in,
)

LIMITS = Limits(max_body_bytes=8 * 2**20, max_event_bytes=3 * 2**20, max_values=300_000)
SMALL_ROUTES = ["/setup", "/train", "/versions", "/job_status", "/llm/setup", "/unknown"]
ROUTES = {
    **dict.fromkeys(SMALL_ROUTES, SMALL_BODY_BYTES),
    "/webhook": LIMITS.max_event_bytes,
    "/encoder/webhook": LIMITS.max_event_bytes,
    "/predict": LIMITS.max_body_bytes,
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    with serve_app(settings_in(tmp_path_factory.mktemp("server"), limits=LIMITS)) as client:
        yield client


def reserved_bytes(client: FlaskClient) -> int:
    reserved: int = client.application.extensions["tagalong"].body_budget._reserved
    return reserved


@pytest.mark.parametrize(("path", "limit"), ROUTES.items())
def test_each_route_has_its_limit(client: FlaskClient, path: str, limit: int) -> None:
    class Unread(io.BytesIO):
        def read(self, *_: Any) -> bytes:
            raise AssertionError("the body was read")

        readline = readinto = read

    answer = client.post(path, input_stream=Unread(b" " * (limit + 1)))
    assert_refused(answer, 413, "body-too-large")
    assert f"{limit:,}" in answer.json["error"]
    assert client.post(path, data=b" " * limit).status_code != 413


def test_chunked_bodies_have_the_same_limits(client: FlaskClient) -> None:
    chunked = {"environ_overrides": {"wsgi.input_terminated": True, "CONTENT_LENGTH": ""}}
    for path, limit in (("/setup", SMALL_BODY_BYTES), ("/webhook", LIMITS.max_event_bytes)):
        answer = client.post(path, input_stream=io.BytesIO(b" " * (limit + 1)), **chunked)
        assert_refused(answer, 413, "body-too-large")


@pytest.mark.slow
@pytest.mark.parametrize("item", ["[]", "{}", "0", '""', '{"a":1}', "[[[]]]"])
def test_bodies_of_too_many_values_take_little_memory(client: FlaskClient, item: str) -> None:
    count = min(LIMITS.max_body_bytes // (len(item) + 1) - 100, 400_000)
    body = f'{{"tasks":[{",".join([item] * count)}]}}'
    tracemalloc.start()
    try:
        answer = client.post("/predict", data=body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.status_code in (413, 422)
    assert peak < 20 * 2**20 + LIMITS.max_values * 150
    assert reserved_bytes(client) == 0


@pytest.mark.slow
def test_too_many_values_are_refused(client: FlaskClient) -> None:
    body = b'{"tasks":[' + b"[]," * LIMITS.max_values + b"[]]}"
    assert_refused(client.post("/predict", data=body), 413, "too-many-values")
    half = body.replace(b"{", b'{"x":"\\ud83d",', 1)
    assert_refused(client.post("/predict", data=half), 413, "too-many-values")


def many_values(**changes: Any) -> dict[str, Any]:
    body = request_for(ABSTRACT, "Naloxone, " * 100)
    body["tasks"][0]["meta"] = {"numbers": [1, -2, 1.5, 1e300, 10**30, None, True, "é🧪\u0000"]}
    body["tasks"][1]["meta"] = {"more": [0] * MAX_VALUES_AT_ONCE}
    return body | changes


def test_bodies_of_many_values_are_parsed_alike(client: FlaskClient) -> None:
    few = many_values()
    few["tasks"][1]["meta"] = {}
    answers = [post_json(client, "/predict", body).get_json() for body in (few, many_values())]
    assert regions(answers[0]) == regions(answers[1])
    assert len(regions(answers[0])[1]) == 100


def test_commas_of_long_texts_are_no_values(tmp_path: Path) -> None:
    limits = Limits(max_values=MAX_VALUES_AT_ONCE)
    texts = ['Naloxone, [{"\\ ' + "x, " * MAX_VALUES_AT_ONCE, ABSTRACT]
    with serve_app(settings_in(tmp_path, limits=limits)) as client:
        answer = post_json(client, "/predict", request_for(*texts))
    assert answer.status_code == 200
    assert len(regions(answer.get_json())[1]) == 2


@pytest.mark.parametrize("text", ["\ud83d Naloxone", "🧪 Naloxone", "a\\ud83d Naloxone"])
def test_surrogates_of_large_bodies_are_kept(client: FlaskClient, text: str) -> None:
    """Half a pair makes a task unreadable; a parser that replaced it would change the text."""
    answers = []
    for body in (request_for(text, ABSTRACT), many_values()):
        body["tasks"][0]["data"]["text"] = text
        answers.append(post_json(client, "/predict", body).get_json()["results"][0]["result"])
    assert answers[0] == answers[1]
    assert bool(answers[0]) == (text[0] != "\ud83d")


def test_few_bodies_of_many_values_wait_for_each_other(client: FlaskClient) -> None:
    """Each holds a thread, and others must be answered meanwhile."""
    body = json.dumps(many_values())
    budget = client.application.extensions["tagalong"].body_budget
    statuses: list[int] = []

    def post() -> None:
        answer = client.application.test_client().post("/predict", data=body)
        statuses.append(answer.status_code)

    threads = [threading.Thread(target=post) for _ in range(MAX_BODIES_IN_PIECES + 3)]
    with budget._parsing:
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 30
        while len(statuses) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert statuses == [503] * 3
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] * MAX_BODIES_IN_PIECES + [503] * 3


ZEROS = b"0," * MAX_VALUES_AT_ONCE


@pytest.mark.parametrize(
    "body",
    [
        b"[" + ZEROS,
        b"[" + ZEROS + b"0]x",
        b"[" + ZEROS + b"\xff]",
        b'{"a":[' + ZEROS + b"NaN]}",
        b'{"a":[' + ZEROS + b"1e9999999999999999999]}",
        b"[" * (MAX_DEPTH + 1) + ZEROS + b"0" + b"]" * (MAX_DEPTH + 1),
        b"[" * 2 * MAX_VALUES_AT_ONCE,
        b'{"a":"' + ZEROS + b'\\"',
        b'{"a":"' + ZEROS + b"\\",
    ],
    ids=range(9),
)
def test_large_bodies_that_are_not_json_are_refused(client: FlaskClient, body: bytes) -> None:
    assert_refused(client.post("/predict", data=body), 400, "body-not-json")


@pytest.mark.slow
def test_event_with_a_million_ids_is_recorded(tmp_path: Path) -> None:
    ids = list(range(10**6))
    with serve_app(settings_in(tmp_path)) as client:
        event = {"action": "TASKS_DELETED", "project": {"id": 1}, "tasks": ids}
        answer = client.post("/webhook", data=json.dumps(event, separators=(",", ":")))
        assert answer.status_code == 201
        store = client.application.extensions["tagalong"].event_store
        recorded = store.read_event(int(answer.get_json()["job"]))
        assert recorded.event.tasks == tuple(ids)


def test_bodies_in_work_are_bounded_together(tmp_path: Path) -> None:
    limits = Limits(max_total_body_bytes=4 * 2**20)
    large = request_for("x" * (3 * 2**20), ABSTRACT)
    with serve_app(settings_in(tmp_path, limits=limits)) as client:
        budget = client.application.extensions["tagalong"].body_budget
        entered, leave = threading.Event(), threading.Event()

        class Stalled(io.BytesIO):
            def readinto(self, buffer: Any) -> int:
                size = super().readinto(buffer)
                if self.tell() > 3 * 2**20:
                    entered.set()
                    leave.wait(30)
                return size

        content = json.dumps(large).encode()
        statuses: list[int] = []

        def post_slowly() -> None:
            other = client.application.test_client()
            answer = other.post("/predict", input_stream=Stalled(content))
            statuses.append(answer.status_code)

        thread = threading.Thread(target=post_slowly)
        thread.start()
        try:
            assert entered.wait(30)
            answer = post_json(client, "/predict", large)
            assert_refused(answer, 503, "too-much-data")
            assert answer.headers["Retry-After"]
            small = post_json(client, "/predict", request_for(ABSTRACT))
            assert small.status_code == 200
        finally:
            leave.set()
            thread.join()
        assert statuses == [200]
        assert budget._reserved == 0
        assert post_json(client, "/predict", large).status_code == 200
