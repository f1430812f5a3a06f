"""A disk that takes no more: events are refused, and the server says so until it takes them."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tagalong.backend.events.store import EventStore
from tagalong.backend.retraining import supervisor
from tagalong.backend.retraining.job_store import JobStore
from tagalong.backend.server.settings import Credentials
from tagalong.backend.storage.project_key import ProjectKey
from tagalong.backend.storage.state_dir import event_store_path
from tagalong.ner.errors import StateFileError, VersionInvalid
from tests.backend.server.app_client import (
    ABSTRACT,
    assert_refused,
    post_json,
    request_for,
    serve_app,
    settings_in,
)
from tests.errors import raises
from tests.full_disk import full_disk

FULL_BYTES = 40_000
LARGE_EVENT = {"action": "TASKS_DELETED", "project": 1, "tasks": list(range(10**6, 10**6 + 20_000))}
OTHER_EVENT = {**LARGE_EVENT, "project": 2}


def shown_headline(client: FlaskClient) -> str:
    page = client.get("/", headers={"Accept": "text/html"}).get_data(as_text=True)
    return page.partition("<h1>")[2].partition("</h1>")[0]


def refused_events(client: FlaskClient) -> float:
    lines = client.get("/metrics").get_data(as_text=True).splitlines()
    (value,) = [line for line in lines if line.startswith("tagalong_webhook_events_refused_total ")]
    return float(value.split()[1])


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_write_error_stays_until_a_write_succeeds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = EventStore(event_store_path(tmp_path))
    assert store.write_payload({"action": "TASKS_CREATED", "tasks": [1]}) is not None
    with full_disk(FULL_BYTES):
        for event in (LARGE_EVENT, OTHER_EVENT):
            with pytest.raises(StateFileError):
                store.write_payload(event)
            assert store.count_by_action() == {"TASKS_CREATED": 1}
            assert store.error is not None
        assert store.write_payload({"action": "TASKS_CREATED", "tasks": [1]}) is None  # known
        assert store.error is not None
        store.probe_writing()
        assert store.error is not None
    [record] = caplog.records
    assert record.getMessage().startswith("journal.sqlite cannot be used: SQLITE_IOERR")
    store.probe_writing()
    assert store.error is None
    with full_disk(FULL_BYTES), pytest.raises(StateFileError):
        store.write_payload(LARGE_EVENT)
    assert store.write_payload(LARGE_EVENT) is not None
    assert store.error is None
    assert len(caplog.records) == 2
    store.close()


def test_write_error_of_jobs_stays_until_a_write_succeeds(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    first = store.enqueue(ProjectKey(0), "encoder", reason="the train button")
    with full_disk(FULL_BYTES):
        with raises(StateFileError, "state-file-unusable"):
            for project in range(1, 100):
                store.enqueue(ProjectKey(project), "encoder", reason="the train button")
        assert store.read_job(first) is not None
        assert store.error is not None
    store.probe_writing()
    assert store.error is None
    store.close()


def test_server_on_a_full_disk_says_so_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor, "POLL_SECONDS", 0.05)
    caplog.set_level(logging.WARNING)
    with serve_app(settings_in(tmp_path)) as client:
        wait_for(lambda: client.get("/ready").status_code == 200)
        assert client.get("/health").get_json()["degraded"] is False
        assert shown_headline(client) == "Ready"
        with full_disk(FULL_BYTES):
            for event in (LARGE_EVENT, LARGE_EVENT, OTHER_EVENT):
                assert_refused(post_json(client, "/webhook", event), 503, "state-file-unusable")
            for _ in range(2):
                health = client.get("/health")
                assert health.status_code == 200
                assert (health.get_json()["status"], health.get_json()["degraded"]) == ("UP", True)
                assert_refused(client.get("/ready"), 503, "events-not-stored")
                assert shown_headline(client) == "Events cannot be stored"
                time.sleep(0.2)
            assert post_json(client, "/predict", request_for(ABSTRACT)).status_code == 200
            assert refused_events(client) == 3
        wait_for(lambda: client.get("/ready").status_code == 200)
        assert client.get("/health").get_json()["degraded"] is False
        assert shown_headline(client) == "Ready"
        assert post_json(client, "/webhook", LARGE_EVENT).status_code == 201
        assert refused_events(client) == 3
    warned = [record.getMessage() for record in caplog.records]
    assert len(warned) == len(set(warned)) <= 3, warned
    assert str(tmp_path) not in caplog.text


def test_disk_that_is_full_at_the_start_is_reported(tmp_path: Path) -> None:
    with full_disk(FULL_BYTES), serve_app(settings_in(tmp_path)) as client:
        wait_for(lambda: client.get("/ready").get_json().get("code") == "events-not-stored")
        assert client.get("/health").get_json()["degraded"] is True


def test_ready_needs_a_served_version_and_no_credentials(tmp_path: Path) -> None:
    def load(_: Path) -> Any:
        raise VersionInvalid("weights of secret-project are gone")

    credentials = Credentials("studio", "password")
    with serve_app(settings_in(tmp_path, credentials=credentials), load=load) as client:
        for path in ("/ready", "/encoder/ready", "/llm/ready"):
            answer = client.get(path)
            assert_refused(answer, 503, "no-version-served")
            assert "secret" not in answer.get_data(as_text=True)
        health = client.get("/health")
        assert (health.status_code, health.get_json()["degraded"]) == (200, True)
