"""Regions seen in interactive requests: kept by task, and bounded."""

from pathlib import Path
from typing import Any

import pytest

from tagalong.backend.label_studio.results import prediction_to_label_studio
from tagalong.backend.label_studio.task_text import TaskTextReader
from tagalong.backend.server.prediction import handler
from tagalong.backend.server.prediction.handler import SeenRegions
from tagalong.ner.document import Document
from tagalong.ner.errors import InputError
from tests.backend.server.app_client import (
    ABSTRACT,
    assert_refused,
    post_json,
    request_for,
    serve_app,
    settings_in,
)


def test_seen_regions_are_kept_by_task() -> None:
    answered = SeenRegions()
    assert answered.mark_seen("1", ["a", "b", "a"]) == frozenset()
    assert answered.mark_seen("1", ["b", "c"]) == {"b"}
    assert answered.mark_seen("2", ["a", "c"]) == frozenset()
    assert answered.mark_seen("1", ["a", "c", "d"]) == {"a", "c"}
    assert answered.mark_seen("1\0x", ["y"]) == frozenset()
    assert answered.mark_seen("1", ["x\0y"]) == frozenset()


def test_oldest_seen_regions_are_evicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "MAX_SEEN_REGIONS", 3)
    answered = SeenRegions()
    answered.mark_seen("1", ["a", "b", "c"])
    assert answered.mark_seen("1", ["a"]) == {"a"}
    answered.mark_seen("1", ["d"])
    assert answered.mark_seen("1", ["b"]) == frozenset()
    assert answered.mark_seen("1", ["a", "d"]) == {"a", "d"}


def test_region_id_may_be_any_text() -> None:
    answered = SeenRegions()
    answered.mark_seen("\ud800", ["\udfff" * 10_000])
    assert answered.mark_seen("\ud800", ["\udfff" * 10_000]) == {"\udfff" * 10_000}


def test_long_task_ids_are_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each region's id is a hash of the document's."""
    shown: list[str] = []

    def record(document: Document, *arguments: Any) -> dict[str, Any]:
        shown.append(document.id)
        return prediction_to_label_studio(document, *arguments)

    monkeypatch.setattr(handler, "prediction_to_label_studio", record)
    body = request_for(ABSTRACT, ABSTRACT, ABSTRACT)
    ids = ["7" * 60, "7" * 10**6, "\ud83d" * 10**6]
    for task, task_id in zip(body["tasks"], ids, strict=True):
        task["id"] = task_id
    with serve_app(settings_in(tmp_path)) as client:
        assert post_json(client, "/predict", body).status_code == 200
    assert shown[0] == ids[0]
    assert [len(one) for one in shown] == [60, 128, 128]
    assert shown[1] != shown[2]


def test_no_text_is_fetched_for_a_client_that_has_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[object] = []

    def fail_to_read(_: object, task: Any, *__: object) -> Document:
        read.append(task["id"])
        raise InputError("none", code="fetch-timeout")

    monkeypatch.setattr(TaskTextReader, "read_document", fail_to_read)
    gone = {"waitress.client_disconnected": lambda: len(read) == 2}
    with serve_app(settings_in(tmp_path)) as client:
        answer = client.post("/predict", json=request_for(*"abc"), environ_overrides=gone)
    assert_refused(answer, 503, "client-gone")
    assert read == [1, 2]
