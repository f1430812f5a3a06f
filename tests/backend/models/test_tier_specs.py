"""A registered tier is loaded, served and used in batches."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tagalong.backend.models.load import load_tagger, load_version
from tagalong.backend.models.tier_specs import TIER_SPECS, TierSpec
from tagalong.backend.server.service import Service
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.document import Document
from tagalong.ner.errors import VersionInvalid
from tagalong.ner.tiers import ENCODER, TIERS
from tests.backend.server.app_client import (
    ABSTRACT,
    post_json,
    regions,
    request_for,
    serve_app,
    settings_in,
)
from tests.cli.run_command import run
from tests.lexicon_tagger import LexiconTagger
from tests.terms_tier import TERMS, TERMS_SPEC, publish_terms

SAMPLE = Path("tests/samples/bc5cdr.jsonl").resolve()


@pytest.fixture
def version(tmp_path: Path) -> Path:
    store = ModelStore(tmp_path / "models")
    store.promote(TERMS, publish_terms(store).version)
    return store.resolve(TERMS)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TIER_SPECS, TERMS, TERMS_SPEC)


def test_drafted_tier_may_run_on_openvino(
    monkeypatch: pytest.MonkeyPatch, version: Path, tmp_path: Path
) -> None:
    received: dict[str, object] = {}

    def load(folder: Path, **options: object) -> LexiconTagger:
        received.update(options)
        return LexiconTagger(folder.name)

    monkeypatch.setattr("tagalong.backend.server.service.load_tagger", load)
    monkeypatch.setitem(TIER_SPECS, TERMS, TierSpec(loaders=(), drafter_tier=ENCODER))
    service = Service(settings_in(tmp_path, openvino_build_command=("compile",)))
    try:
        service.model_pool.find(TERMS)._load(version)
        assert received.pop("use_openvino") is True
        assert callable(received.pop("drafter"))
        service.model_pool.find(ENCODER)._load(version)
        assert "drafter" not in received
    finally:
        service.close()


def test_every_tier_is_served() -> None:
    assert TIER_SPECS.keys() == set(TIERS)


def test_registered_tier_is_loaded_and_served(registered, version: Path, tmp_path: Path) -> None:
    assert load_tagger(version).version == version.name
    assert load_version(ModelStore(version.parents[1]), TERMS).version == version.name
    with serve_app(settings_in(tmp_path), load=None) as client:
        answer = post_json(client, f"/{TERMS}/predict", request_for(ABSTRACT))
        assert answer.status_code == 200, answer.json
        assert answer.json["results"][0]["model_version"] == version.name
        (found,) = regions(answer.json)
        assert found
        metrics = client.get("/metrics").text
    assert (
        f'tagalong_tasks_predicted_total{{model="{TERMS}",tier="{TERMS}"}} 1.0'
        in metrics.splitlines()
    )


def test_each_dictionary_is_a_version(registered, version: Path) -> None:
    store = ModelStore(version.parents[1])
    other = publish_terms(store, {"rats": "Disease"})
    assert other.version != version.name
    assert publish_terms(store).version == version.name
    document = Document("1", "Naloxone in rats")
    found = [
        load_version(store, name).predict([document])[0].spans
        for name in (version.name, other.version)
    ]
    assert [span.start for spans in found for span in spans] == [0, 12]


def test_registered_tier_predicts_and_is_evaluated(registered, version: Path) -> None:
    models = ("--models", version.parents[1], "--json")
    predicted = json.loads(run("predict", ABSTRACT, "--model", TERMS, *models).stdout)
    assert predicted["model_version"] == version.name
    assert predicted["entities"]
    evaluated = json.loads(run("evaluate", TERMS, SAMPLE, *models).stdout)
    assert evaluated["strict"]["gold"]


@pytest.mark.slow
def test_registered_tier_predicts_a_batch(version: Path, tmp_path: Path) -> None:
    texts, out = tmp_path / "texts.txt", tmp_path / "out.jsonl"
    texts.write_text(ABSTRACT)
    options = ("--out", out, "--models", version.parents[1], "--tier", TERMS)
    arguments = map(str, ("-m", "tests.terms_tier", "prelabel", texts, *options))
    subprocess.run([sys.executable, *arguments], check=True)
    assert json.loads(out.read_text())["model_version"] == version.name


def test_tier_without_loader_is_refused(version: Path) -> None:
    with pytest.raises(VersionInvalid) as raised:
        load_tagger(version)
    assert raised.value.code == "unknown-tier"
