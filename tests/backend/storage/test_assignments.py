"""Assignments of models to projects: kept, replaced at once, and read by a running server."""

import json
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.storage.assignments import (
    FILE_NAME,
    AssignmentReader,
    ServingModel,
    assign_model,
    find_serving_model,
    read_assignments,
)
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.errors import RegistryError
from tests.errors import raises
from tests.versions import publish_number

CHANGES = st.tuples(
    st.sampled_from(["3.1795354311", "3.1795354312", "4.1795354311"]),
    st.sampled_from(["encoder", "llm"]),
    st.none() | st.sampled_from(["cardiology", "genes"]),
)


def test_folder_without_assignments_has_none(tmp_path: Path) -> None:
    assert read_assignments(tmp_path / "missing") == {}
    assert AssignmentReader(tmp_path / "missing").find("3.1", "encoder") is None


@given(changes=st.lists(CHANGES, max_size=12))
def test_each_project_and_tier_has_its_last_model(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, str, str | None]]
) -> None:
    models, expected = tmp_path_factory.mktemp("models"), dict[tuple[str, str], str | None]()
    reader = AssignmentReader(models)
    for key, tier, model in changes:
        assert assign_model(models, key, tier, model) == expected.get((key, tier))
        expected[key, tier] = model
        assert all(reader.find(*pair) == model for pair, model in expected.items())


def test_changes_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    keys = [f"{number}.1795354311" for number in range(12)]
    threads = [
        threading.Thread(target=assign_model, args=(tmp_path, key, "encoder", "cardiology"))
        for key in keys
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(read_assignments(tmp_path)) == sorted(keys)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "null", '{"format": 1}', '{"format": 1, "projects": {"3.1": {"encoder": "../x"}}}'],
)
def test_damaged_file_is_named_and_the_last_assignments_hold(tmp_path: Path, content: str) -> None:
    assign_model(tmp_path, "3.1", "encoder", "cardiology")
    reader = AssignmentReader(tmp_path)
    assert reader.find("3.1", "encoder") == "cardiology"
    (tmp_path / FILE_NAME).write_text(content)
    assert reader.find("3.1", "encoder") == "cardiology"
    assert reader.error
    with raises(RegistryError, "assignments-unreadable"):
        assign_model(tmp_path, "4.1", "encoder", "genes")
    assert (tmp_path / FILE_NAME).read_text() == content
    (tmp_path / FILE_NAME).unlink()
    assert reader.find("3.1", "encoder") is None
    assert reader.error is None


def test_file_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(json.dumps({"format": 2, "projects": []}))
    with raises(RegistryError, "assignments-of-another-format"):
        assign_model(tmp_path, "3.1", "encoder", "genes")


KEY = "3.1795354311"


def test_url_then_assignment_then_default_serve_a_project(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    for model in "cardiology", "genes":
        store.promote(model, publish_number(store, model=model).version)
    publish_number(store, model="words", tier="llm")
    assert find_serving_model(store, KEY, "encoder") == ServingModel("encoder")
    assign_model(tmp_path, KEY, "encoder", "cardiology")
    assert find_serving_model(store, KEY, "encoder") == ServingModel("cardiology")
    assert find_serving_model(store, KEY, "llm") == ServingModel("llm")
    assert find_serving_model(store, "3.1", "encoder") == ServingModel("encoder")
    for path, expected in {
        "/models/genes": ServingModel("genes", is_named_by_url=True),
        "/tagalong/models/genes/": ServingModel("genes", is_named_by_url=True),
        "/models/encoder": ServingModel("encoder", is_named_by_url=True),
        "/models/words": ServingModel("cardiology"),
        "/models/missing": ServingModel("cardiology"),
        "/encoder": ServingModel("cardiology"),
    }.items():
        url = f"http://localhost:9090{path}"
        assert find_serving_model(store, KEY, "encoder", backend_url=url) == expected


@pytest.mark.parametrize(
    ("model", "reason"), [("gone", "no model"), ("words", "tier"), ("empty", "no current version")]
)
def test_unusable_assignment_leaves_the_default(tmp_path: Path, model: str, reason: str) -> None:
    store = ModelStore(tmp_path)
    publish_number(store, model="words", tier="llm")
    publish_number(store, model="empty")
    assign_model(tmp_path, KEY, "encoder", model)
    found = find_serving_model(store, KEY, "encoder")
    assert found.name == "encoder"
    assert reason in found.fault
