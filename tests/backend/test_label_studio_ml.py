"""The Tagalong class in the app of label-studio-ml 1.0.9, and in a small copy of 2.x."""

import importlib
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER
from tagalong.backend.events.store import EventStore
from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.models.base_models.save import save_model
from tagalong.backend.server.prediction.request import parse_predict_request
from tagalong.backend.server.service import Service
from tagalong.backend.server.settings import Settings
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.manifest import VersionMetadata
from tagalong.ner.tags import TagSet
from tests.toy_corpus import LABELS

ROOT = Path(__file__).parents[2]
SERVER = Path(__file__).with_name("label_studio_ml_server.py")
FRAMEWORKS = {
    "1.0.9": Path(sys.prefix) / "label-studio-ml",
    "2": Path(__file__).with_name("label_studio_ml_2"),
}
TEXTS = ("Naloxone 🙂 reverses\r\nthe  naloxone. Naloxone!", "", "Li+ caused β-cell failure.")
LABEL = '<Label value="Chemical" alias="CHEM"/><Label value="Illness" predicted_values="Disease"/>'
WAIT = 120  # seconds: 1.0.9 imports everything for each event


def publish(models: Path, base: BaseModelRef, seed: int) -> str:
    """Publish a version with random weights and make it current."""
    store = ModelStore(models, bundled_root=BUNDLED_MODELS_FOLDER)
    draft = VersionMetadata(tier="encoder", name="tiny", base=base.reference, labels=LABELS)
    torch.manual_seed(seed)
    with store.staging_folder("encoder") as folder:
        model = base.load_token_classifier(TagSet(LABELS).tag_names)
        save_model(model, base.load_tokenizer(), folder, base=base)
        version = store.publish(folder, draft).version
    store.promote("encoder", version)
    return version


def config(*names: str) -> str:
    """A labelling config with these controls."""
    controls = "".join(f'<Labels name="{name}" toName="text">{LABEL}</Labels>' for name in names)
    return f'<View>{controls}<Text name="text" value="$text"/></View>'


@dataclass(frozen=True)
class Backend:
    """A running server of a framework, with the requests of Label Studio."""

    framework: str
    url: str
    models: Path
    version: str

    def ask(self, verb: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.url}/{verb}", data, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=WAIT) as response:
            return json.load(response)

    def setup(self, **more: Any) -> str:
        body = {"project": "7.179", "schema": config("label"), "hostname": ""}
        return self.ask("setup", body | more)["model_version"]

    def predict(self, **more: Any) -> list[dict[str, Any]]:
        return self.ask("predict", predict_body(**more))["results"]

    def events(self) -> dict[str, int]:
        journal = EventStore(Settings(self.models).event_store_path)
        try:
            return journal.count_by_action()
        finally:
            journal.close()


def predict_body(
    *,
    project: str = "7.179",
    schema: str = config("label"),
    context: object = None,
    texts: Sequence[str] = TEXTS,
) -> dict[str, Any]:
    return {
        "tasks": [{"id": number, "data": {"text": text}} for number, text in enumerate(texts)],
        "project": project,
        "label_config": schema,
        "params": {"login": None, "password": None, "context": context},
    }


@pytest.fixture(scope="module", params=FRAMEWORKS)
def backend(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    tiny_base: Callable[[str], Path],
) -> Iterator[Backend]:
    """Start the server process of a framework."""
    framework: str = request.param
    folder = FRAMEWORKS[framework]
    assert (folder / "label_studio_ml").is_dir(), (
        f"label-studio-ml is not in {folder}: run `make install`, "
        "or the command in tests/label_studio_ml.txt"
    )
    models = tmp_path_factory.mktemp("served") / "models"
    version = publish(models, BaseModelRef(str(tiny_base("bert-uncased"))), seed=1)
    jobs = [str(tmp_path_factory.mktemp("jobs"))] if framework == "1.0.9" else []
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT))),
        "TAGALONG_MODELS": str(models),
    }
    with subprocess.Popen(
        [sys.executable, str(SERVER), *jobs],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        assert port, f"label-studio-ml {framework} did not start"
        try:
            yield Backend(framework, f"http://127.0.0.1:{port}", models, version)
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def expected(backend: Backend) -> Iterator[Callable[..., list[dict[str, Any]]]]:
    """Answers of our own service to the same request, as JSON."""
    service = Service(Settings(backend.models))
    service.start()

    def answer(**more: Any) -> list[dict[str, Any]]:
        asked = parse_predict_request(predict_body(**more), service.settings.limits)
        results = service.predict_handler.handle(
            asked, service.model_pool.find("encoder"), control_name=None
        )
        return json.loads(json.dumps(results))

    yield answer
    service.close()


def annotation_event(number: int) -> dict[str, Any]:
    return {
        "action": "ANNOTATION_CREATED",
        "project": {"id": 7, "label_config": config("label"), "model_version": "x"},
        "task": {"id": 3, "data": {"text": TEXTS[0]}},
        "annotation": {"id": number, "task": 3, "updated_at": "2026-11-01T10:00:00Z"},
    }


def without_versions(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in item.items() if key != "model_version"} for item in results
    ]


def to_bytes(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def wait_for(condition: Callable[[], bool]) -> bool:
    """Whether a condition becomes true in time."""
    end = time.monotonic() + WAIT
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.slow
def test_health(backend: Backend) -> None:
    assert backend.ask("health")["status"] == "UP"


@pytest.mark.slow
def test_setup_predict_and_promotion(backend: Backend, tiny_base, expected) -> None:
    first = backend.setup()
    assert first == (backend.version if backend.framework == "2" else "INITIAL")
    got, ours = backend.predict(), expected()
    assert len(got) == len(TEXTS)
    assert got[0]["result"]
    if first == "INITIAL":
        assert all("model_version" not in item for item in got)
        ours = without_versions(ours)
    assert to_bytes(got) == to_bytes(ours)

    backend.ask("webhook", annotation_event(5))
    assert wait_for(lambda: backend.events() == {"ANNOTATION_CREATED": 1})
    assert wait_for(lambda: backend.setup() == backend.version)
    got = backend.predict()
    assert {item["model_version"] for item in got} == {backend.version}
    assert to_bytes(got) == to_bytes(expected())

    promoted = publish(backend.models, BaseModelRef(str(tiny_base("bert-uncased"))), seed=2)
    assert promoted != backend.version
    assert wait_for(lambda: {item["model_version"] for item in backend.predict()} == {promoted})
    assert backend.setup() == promoted
    assert wait_for(lambda: expected()[0]["model_version"] == promoted)
    after = backend.predict()
    assert to_bytes(after) == to_bytes(expected())
    assert to_bytes(without_versions(after)) != to_bytes(without_versions(got))


@pytest.mark.slow
def test_drawn_region_is_completed(backend: Backend, expected) -> None:
    value = {"start": 0, "end": 8, "text": "Naloxone", "labels": ["Illness"]}
    drawn = {"from_name": "label", "to_name": "text", "type": "labels", "value": value}
    request = {"context": {"result": [{"id": "drawn", **drawn}]}, "texts": TEXTS[:1]}
    backend.setup()
    got = without_versions(backend.predict(**request))
    assert to_bytes(got) == to_bytes(without_versions(expected(**request)))
    assert to_bytes(got) != to_bytes(without_versions(expected(texts=TEXTS[:1])))


def test_label_config_of_the_request_is_used_if_passed_on(
    backend: Backend,
) -> None:
    backend.setup()
    names = {item["from_name"] for item in backend.predict(schema=config("mine"))[0]["result"]}
    assert names == ({"mine"} if backend.framework == "2" else {"label"})


def test_extra_params_choose_the_control_if_passed_on(
    backend: Backend,
) -> None:
    asked = {"project": "8.180", "schema": config("one", "two")}
    backend.setup(**asked, extra_params={"control": "two"})
    if backend.framework == "2":
        names = {item["from_name"] for item in backend.predict(**asked)[0]["result"]}
        assert names == {"two"}
    else:
        with pytest.raises(urllib.error.HTTPError, match="500"):
            backend.predict(**asked)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Our module imported in this process, with 2.x and its own models folder."""
    monkeypatch.syspath_prepend(FRAMEWORKS["2"])
    monkeypatch.setenv("TAGALONG_MODELS", str(tmp_path / "models"))
    imported = importlib.import_module("tagalong.backend.label_studio_ml")
    yield imported
    imported.process_service().close()
    for name in [name for name in sys.modules if name.startswith("label_studio_ml")]:
        del sys.modules[name]
    del sys.modules["tagalong.backend.label_studio_ml"]


def test_objects_of_a_process_share_one_loaded_version(module, tiny_base) -> None:
    models = module.process_service().settings.models
    publish(models, BaseModelRef(str(tiny_base("bert-uncased"))), seed=1)

    def predict(_: int) -> int:
        model = module.Tagalong("7", label_config=config("label"))
        assert len(model.predict([{"id": 1, "data": {"text": TEXTS[0]}}])) == 1
        return id(module.process_service().model_pool.find("encoder").tagger)

    before = set(threading.enumerate())
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(predict, range(16)))) == 1
    begun = [thread.name for thread in threading.enumerate() if thread not in before]
    assert begun.count("encoder-watch") == 1


def test_damaged_current_file_stops_neither_predictions_nor_events(module) -> None:
    home = module.process_service().settings.models / "encoder"
    home.mkdir(parents=True)
    (home / "current").write_text("no JSON")
    event = annotation_event(6)
    model = module.Tagalong("7", label_config=config("label"))
    (prediction,) = model.predict([{"id": 1, "data": {"text": TEXTS[0]}}])
    assert len(prediction["result"]) == 3  # of the bundled version
    number = model.fit(event["action"], event)["recorded"]
    assert module.process_service().event_store.read_event(number).event.annotations[0].id == 6
    assert model.fit(event["action"], event) == {"recorded": None}
    assert model.fit("NEVER_HEARD_OF", {}) == {"recorded": None}
    later = model.process_event("START_TRAINING", {"project": "7.1"}, "1", {"workdir": "x"})
    assert later["recorded"] > number


def test_settings_come_from_the_environment(module, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {
        "TAGALONG_ALLOWED_HOSTS": "a.example, b.example:8080,",
        "LABEL_STUDIO_URL": "http://b.example:8080",
        "LABEL_STUDIO_API_KEY": "key",
    }
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    settings = module._read_settings()
    assert settings.allowed_hosts == {"a.example", "b.example:8080"}
    assert (settings.label_studio_url, settings.label_studio_key) == (
        "http://b.example:8080",
        "key",
    )
    for name in told:
        monkeypatch.setenv(name, "")
    assert module._read_settings() == Settings(settings.models)


@pytest.mark.parametrize("missing", ["label_studio_ml", "label_studio_ml.model"])
def test_missing_framework_is_reported(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ModuleNotFoundError, match="tagalong serve"):
        importlib.import_module("tagalong.backend.label_studio_ml")
