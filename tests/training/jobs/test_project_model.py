"""The model that a retraining adds a version to."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tagalong.backend.events.store import EventStore
from tagalong.backend.storage.assignments import assign_model
from tagalong.backend.storage.model_store import ModelStore
from tagalong.backend.storage.project_key import ProjectKey
from tagalong.backend.storage.state_dir import event_store_path
from tagalong.training.jobs.project_model import ProjectModels, find_project_models
from tests.versions import publish_number

PROJECT, OTHER = ProjectKey(3, 1795354311), ProjectKey(3, 1795378436)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    store = ModelStore(tmp_path)
    for model in "encoder", "cardiology":
        store.promote(model, publish_number(store, model=model).version)
    return store


def find(
    store: ModelStore,
    project: ProjectKey = PROJECT,
    tier: str = "encoder",
    urls: Sequence[str] = (),
) -> ProjectModels:
    backends = [SimpleNamespace(url=url) for url in urls]
    client: Any = SimpleNamespace(ml_backends=SimpleNamespace(list_for_project=lambda _: backends))
    return find_project_models(store, client, project, tier)


def names(models: ProjectModels) -> tuple[str, str]:
    return models.serving.name, models.target


def record_setup(store: ModelStore, project: ProjectKey, backend: str) -> None:
    events = EventStore(event_store_path(store.root))
    events.write_extra_params(project, backend, None)
    events.close()


def test_default_model_is_never_trained_by_a_project(store: ModelStore) -> None:
    assert names(find(store)) == ("encoder", "project-3")
    assert names(find(store, tier="llm")) == ("llm", "project-3-llm")


def test_assigned_model_gets_the_next_version(store: ModelStore) -> None:
    assign_model(store.root, str(PROJECT), "encoder", "cardiology")
    assert names(find(store)) == ("cardiology", "cardiology")


def test_model_of_two_projects_is_left_alone(store: ModelStore) -> None:
    for project in PROJECT, OTHER:
        assign_model(store.root, str(project), "encoder", "cardiology")
    assert names(find(store)) == ("cardiology", "project-3")


def test_model_in_the_url_gets_the_next_version_unless_others_use_it(store: ModelStore) -> None:
    urls = ["http://localhost:9090/models/cardiology"]
    record_setup(store, PROJECT, "models/cardiology")
    record_setup(store, OTHER, "encoder")
    assert names(find(store, urls=urls)) == ("cardiology", "cardiology")
    assert find(store, urls=urls).note == ""
    record_setup(store, OTHER, "models/cardiology")
    shared = find(store, urls=urls)
    assert names(shared) == ("cardiology", "project-3")
    assert "tagalong connect --project 3 --model project-3" in shared.note


def test_projects_of_two_label_studios_have_two_models(store: ModelStore) -> None:
    publish_number(store, model="project-3")
    assert names(find(store))[1] == "project-3"  # trained before, and not promoted
    assign_model(store.root, str(PROJECT), "encoder", "project-3")
    assert names(find(store, OTHER))[1] == "project-3-1795378436"
    assert names(find(store))[1] == "project-3"


def test_model_of_another_tier_is_left_alone(store: ModelStore) -> None:
    publish_number(store, model="project-3", tier="llm")
    assert names(find(store))[1] == "project-3-1795354311"
