"""Many models on one server: each project gets its own, and no change of one touches another."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st

from tagalong.backend.models.tagger import DocumentTagger
from tagalong.backend.server.prediction import model_pool
from tagalong.backend.storage.assignments import FILE_NAME, assign_model
from tagalong.backend.storage.model_store import ModelStore
from tests.backend.server.app_client import (
    assert_refused,
    post_json,
    regions,
    request_for,
    serve_app,
    service_of,
    settings_in,
)
from tests.lexicon_tagger import LexiconTagger
from tests.versions import publish_number

TEXT = "alpha beta gamma delta naloxone"
MODELS = "alpha", "beta", "gamma", "delta"  # each finds its own name
XML = """<View><Labels name="label" toName="text">{}</Labels>
<Text name="text" value="$text"/></View>""".format(
    "".join(f'<Label value="{name}"/>' for name in (*MODELS, "Chemical"))
)
PROJECTS = "3.1795354311", "3.1795354312", "4.1795354311"


def load_named(folder: Path) -> DocumentTagger:
    """A tagger that finds the name of its model; the default one finds a drug."""
    model = folder.parent.name
    word, label = (model, model) if model in MODELS else ("naloxone", "Chemical")
    return LexiconTagger(folder.name, {word: label})


def publish(store: ModelStore, model: str, value: int = 0) -> str:
    version = publish_number(store, value, model=model, name=model).version
    store.promote(model, version)
    return version


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    store = ModelStore(tmp_path / "models")
    for model in "encoder", *MODELS:
        publish(store, model)
    return store


@pytest.fixture
def client(store: ModelStore, tmp_path: Path) -> Iterator[FlaskClient]:
    with serve_app(settings_in(tmp_path), load=load_named) as client:
        yield client


def found(client: FlaskClient, project: str, path: str = "") -> tuple[str, str]:
    """The label that a project gets, and the version."""
    body = request_for(TEXT, xml=XML, project=project)
    answer = post_json(client, f"{path}/predict", body)
    assert answer.status_code == 200, answer.json
    ((region,),) = regions(answer.json)
    return region[1], answer.json["results"][0]["model_version"]


def setup_version(client: FlaskClient, project: str, path: str = "") -> str:
    body = {"project": project, "schema": XML, "extra_params": None}
    version: str = post_json(client, f"{path}/setup", body).json["model_version"]
    return version


def test_each_project_has_the_model_that_is_assigned_to_it(
    client: FlaskClient, store: ModelStore
) -> None:
    assert found(client, PROJECTS[0])[0] == "Chemical"
    for project, model in zip(PROJECTS, MODELS, strict=False):
        assign_model(store.root, project, "encoder", model)
    for project, model in zip(PROJECTS, MODELS, strict=False):
        assert setup_version(client, project) == store.current_version(model)
        assert found(client, project) == (model, store.current_version(model))
    assert found(client, "5.1795354311")[0] == "Chemical"
    assign_model(store.root, PROJECTS[0], "encoder", None)
    assert found(client, PROJECTS[0])[0] == "Chemical"
    assert found(client, PROJECTS[1])[0] == "beta"


def test_url_names_a_model(client: FlaskClient, store: ModelStore) -> None:
    assign_model(store.root, PROJECTS[0], "encoder", "alpha")
    assert found(client, PROJECTS[0], "/models/gamma") == ("gamma", store.current_version("gamma"))
    health = client.get("/models/delta/health").json
    assert (health["model"], health["version"]) == ("delta", store.current_version("delta"))
    assert client.get("/models/delta/ready").status_code == 200
    assert "delta" not in service_of(client).model_pool.loaded_models()


@pytest.mark.parametrize("name", ["missing", ".server", "bundled", "x" * 101, "a b"])
def test_unknown_model_in_the_url_is_not_found(client: FlaskClient, name: str) -> None:
    for path in "health", "ready", "versions":
        assert client.get(f"/models/{name}/{path}").status_code == 404
    body = request_for(TEXT, xml=XML)
    assert post_json(client, f"/models/{name}/predict", body).status_code == 404


def test_setup_and_health_load_nothing(client: FlaskClient, store: ModelStore) -> None:
    assign_model(store.root, PROJECTS[0], "encoder", "alpha")
    assert setup_version(client, PROJECTS[0]) == store.current_version("alpha")
    assert setup_version(client, PROJECTS[1], "/models/beta") == store.current_version("beta")
    assert set(service_of(client).model_pool.loaded_models()) == {"encoder"}


def test_setup_tells_the_model_of_the_project(client: FlaskClient, store: ModelStore) -> None:
    def setup(path: str = "") -> dict[str, object]:
        body = {"project": PROJECTS[0], "schema": XML, "extra_params": None}
        answer: dict[str, object] = post_json(client, f"{path}/setup", body).json
        return answer

    labels = store.manifests("alpha")[0].labels
    assign_model(store.root, PROJECTS[0], "encoder", "alpha")
    assert setup() == {
        "model_version": store.current_version("alpha"),
        "model": "alpha",
        "labels": list(labels),
        "assignment_fault": "",
        "assignments_error": None,
    }
    assert setup("/models/beta")["model"] == "beta"
    store.remove_model("alpha")
    assert setup()["model"] == "encoder"
    assert setup()["assignment_fault"] == "there is no model 'alpha'"
    assert found(client, PROJECTS[0])[0] == "Chemical"
    assert setup()["labels"] == client.get("/health").json["labels"] == ["Chemical"]
    (store.root / FILE_NAME).write_text("{")
    assert "cannot be read" in str(setup()["assignments_error"])


def test_state_tells_models_and_assignments(client: FlaskClient, store: ModelStore) -> None:
    pool = service_of(client).model_pool
    for project, model in zip(PROJECTS, ("alpha", "never-there"), strict=False):
        assign_model(store.root, project, "encoder", model)
    state = pool.read_state()
    assert (state.loaded, state.unloaded) == (["encoder"], sorted(MODELS))
    assert [(one.model, one.fault) for one in state.assignments] == [
        ("alpha", ""),
        ("never-there", "there is no model 'never-there'"),
    ]
    assert state.used_bytes > 0
    assert not client.get("/health").json["degraded"]
    (store.root / FILE_NAME).write_text("{")
    assert client.get("/models/alpha/health").json["degraded"]
    lines = client.get("/metrics").text.splitlines()
    assert "tagalong_assignments_unreadable 1.0" in lines
    assert "tagalong_assignments_failing 1.0" in lines


def test_default_answers_for_a_model_that_cannot(client: FlaskClient, store: ModelStore) -> None:
    assign_model(store.root, PROJECTS[0], "encoder", "alpha")
    assert found(client, PROJECTS[0])[0] == "alpha"
    store.rollback("alpha")
    assert found(client, PROJECTS[0])[0] == "Chemical"
    store.promote("alpha", store.version_names("alpha")[0])
    assert found(client, PROJECTS[0])[0] == "alpha"
    store.remove_model("alpha")
    assert found(client, PROJECTS[0])[0] == "Chemical"
    assign_model(store.root, PROJECTS[0], "encoder", "never-there")
    assert found(client, PROJECTS[0])[0] == "Chemical"
    publish_number(store, model="words", tier="llm")
    store.promote("words", store.version_names("words")[0])
    assign_model(store.root, PROJECTS[0], "encoder", "words")
    assert found(client, PROJECTS[0])[0] == "Chemical"
    (store.root / FILE_NAME).write_text("{")
    assert found(client, PROJECTS[0])[0] == "Chemical"


def test_model_without_a_current_version_is_refused_by_its_url(
    client: FlaskClient, store: ModelStore
) -> None:
    store.rollback("alpha")
    answer = post_json(client, "/models/alpha/predict", request_for(TEXT, xml=XML))
    assert_refused(answer, 503, "no-current-version")
    assert found(client, PROJECTS[0])[0] == "Chemical"


CHANGES: list[Callable[[ModelStore], object]] = [
    lambda store: publish(store, "alpha", 1),
    lambda store: store.rollback("alpha"),
    lambda store: store.remove_model("alpha"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_change_of_one_model_changes_no_other(
    client: FlaskClient, store: ModelStore, change: Callable[[ModelStore], object]
) -> None:
    for project, model in zip(PROJECTS, MODELS, strict=False):
        assign_model(store.root, project, "encoder", model)
        found(client, project)
    taggers = {name: service_of(client).model_pool.find(name).tagger for name in MODELS[1:3]}
    assert all(taggers.values())
    change(store)
    deadline = time.monotonic() + 30
    while found(client, PROJECTS[0])[1] == store.manifests("beta")[0].version:
        assert time.monotonic() < deadline
    for project, model in list(zip(PROJECTS, MODELS, strict=False))[1:]:
        assert found(client, project) == (model, store.current_version(model))
        assert service_of(client).model_pool.find(model).tagger is taggers[model]


def test_models_beyond_the_bound_are_unloaded(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each loaded model takes 10 bytes of 25, so that two fit."""
    alive: list[int] = []
    peaks: list[int] = []

    class Counted(LexiconTagger):
        def __init__(self, folder: Path) -> None:
            named = load_named(folder)
            super().__init__(folder.name, named._lexicon)  # type: ignore[attr-defined]
            alive.append(id(self))
            peaks.append(len(alive))

        def __del__(self) -> None:
            alive.remove(id(self))

    monkeypatch.setattr(model_pool, "resident_bytes", lambda: 10 * len(alive))
    limited = settings_in(tmp_path, max_memory_bytes=25)
    with serve_app(limited, load=Counted) as client:
        pool = service_of(client).model_pool
        for _ in range(2):
            for model in MODELS:
                assert found(client, "7.1", f"/models/{model}")[0] == model
        assert set(pool.loaded_models()) <= {"encoder", *MODELS[-2:]}
        assert found(client, "7.1")[0] == "Chemical"
    assert max(peaks) <= 3  # the next one, while the last one of before is unloaded


@settings(max_examples=5, deadline=None)
@given(order=st.lists(st.tuples(st.sampled_from(PROJECTS), st.sampled_from(MODELS)), min_size=1))
def test_projects_at_the_same_time_never_meet(
    tmp_path_factory: pytest.TempPathFactory, order: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("many")
    store = ModelStore(folder / "models")
    for model in "encoder", *MODELS:
        publish(store, model)
    limited = settings_in(folder, max_memory_bytes=1)  # everything idle is unloaded at each load
    with (
        serve_app(limited, load=load_named) as client,
        ThreadPoolExecutor(8) as threads,
    ):
        app = client.application

        def ask(pair: tuple[str, str]) -> bool:
            project, model = pair
            return found(app.test_client(), project, f"/models/{model}")[0] == model

        assert all(threads.map(ask, order * 3))


def test_loading_model_does_not_hold_up_a_loaded_one(store: ModelStore, tmp_path: Path) -> None:
    may_go_on = threading.Event()

    def load(folder: Path) -> DocumentTagger:
        if folder.parent.name == "alpha":
            assert may_go_on.wait(60)
        return load_named(folder)

    with serve_app(settings_in(tmp_path), load=load) as client, ThreadPoolExecutor(1) as threads:
        found(client, "7.1")
        waiting = threads.submit(found, client.application.test_client(), "7.1", "/models/alpha")
        for _ in range(3):
            assert found(client, "7.1")[0] == "Chemical"
        assert not waiting.done()
        may_go_on.set()
        assert waiting.result(60)[0] == "alpha"
