"""A registered tier is loaded, served and used in batches."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tagalong.backend.batch.models import choose_models
from tagalong.backend.models.load import load_tagger, load_version
from tagalong.backend.models.tier_specs import TIER_SPECS, TierSpec
from tagalong.backend.server.service import Service
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.document import Document
from tagalong.ner.errors import VersionInvalid
from tagalong.ner.manifest import Manifest, VersionMetadata
from tagalong.ner.tiers import ENCODER, TIERS
from tests.backend.server.app_client import (
    ABSTRACT,
    post_json,
    regions,
    request_for,
    serve_app,
    settings_in,
)
from tests.lexicon_tagger import LexiconTagger

TOY = "toy"


def load_toy(folder: Path, manifest: Manifest, **options: object) -> LexiconTagger | None:
    """A loader of the registry."""
    return LexiconTagger(manifest.version) if options["device"] else None


@pytest.fixture
def version(tmp_path: Path) -> Path:
    store = ModelStore(tmp_path / "models")
    metadata = VersionMetadata(tier=TOY, name="toy", base="", labels=("Chemical", "Disease"))
    with store.staging_folder(TOY) as staged:
        save_file({"weight": np.zeros(1)}, staged / "model.safetensors")
        manifest = store.publish(staged, metadata)
    store.promote(TOY, manifest.version)
    return store.resolve(TOY)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TIER_SPECS, TOY, TierSpec(loaders=(f"{__name__}:load_toy",)))


def test_drafted_tier_may_run_on_openvino(
    monkeypatch: pytest.MonkeyPatch, version: Path, tmp_path: Path
) -> None:
    received: dict[str, object] = {}

    def load(folder: Path, **options: object) -> LexiconTagger:
        received.update(options)
        return LexiconTagger(folder.name)

    monkeypatch.setattr("tagalong.backend.server.service.load_tagger", load)
    monkeypatch.setitem(TIER_SPECS, TOY, TierSpec(loaders=(), drafter_tier=ENCODER))
    service = Service(settings_in(tmp_path, openvino_build_command=("compile",)))
    try:
        service.model_holders[TOY]._load(version)
        assert received.pop("use_openvino") is True
        assert callable(received.pop("drafter"))
        service.model_holders[ENCODER]._load(version)
        assert "drafter" not in received
    finally:
        service.close()


def test_every_tier_is_served() -> None:
    assert TIER_SPECS.keys() == set(TIERS)


def test_registered_tier_is_loaded_and_served(registered, version: Path, tmp_path: Path) -> None:
    assert load_tagger(version).version == version.name
    assert load_version(ModelStore(version.parents[1]), TOY).version == version.name
    with serve_app(settings_in(tmp_path), load=None) as client:
        answer = post_json(client, f"/{TOY}/predict", request_for(ABSTRACT))
        assert answer.status_code == 200, answer.json
        assert answer.json["results"][0]["model_version"] == version.name
        (found,) = regions(answer.json)
        assert found
        metrics = client.get("/metrics").text
    assert f'tagalong_tasks_predicted_total{{tier="{TOY}"}} 1.0' in metrics.splitlines()


def test_registered_tier_predicts_a_batch(registered, version: Path) -> None:
    models = choose_models(ModelStore(version.parents[1]), TOY, load=load_version)
    assert (models.first_pass.version, models.second_pass) == (version.name, None)
    (prediction,) = models.first_pass.tagger.predict([Document("1", ABSTRACT)])
    assert prediction.spans


def test_tier_without_loader_is_refused(version: Path) -> None:
    with pytest.raises(VersionInvalid) as raised:
        load_tagger(version)
    assert raised.value.code == "unknown-tier"
