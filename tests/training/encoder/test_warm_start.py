"""Training from the weights of a version."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.models.load import load_tagger
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.document import Document
from tagalong.ner.manifest import Manifest, read_manifest
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.encoder.train import (
    EncoderTrainResult,
    explain_no_warm_start,
    train_encoder,
)
from tagalong.training.jobs.publish import publish as publish_trained
from tagalong.training.recipes.encoder_recipe import EncoderRecipe
from tagalong.training.recipes.recipe import AdapterConfig
from tagalong.training.recipes.schedule import Schedule
from tests.toy_corpus import LABELS, toy_documents

QUICK = Schedule(epochs=15, patience=15, learning_rate=1e-2, batch_tokens=256, precision="fp32")
STILL = replace(QUICK, epochs=1, learning_rate=1e-12)  # so small that the weights do not change
DOCUMENTS = toy_documents(24)
SIDES = TrainDevSplit(DOCUMENTS[:20], DOCUMENTS[20:], LABELS, ("toy",))


def trained(
    recipe: EncoderRecipe, state_path: Path, start: Path | None = None
) -> EncoderTrainResult:
    return train_encoder(
        SIDES,
        recipe=recipe,
        state_path=state_path,
        warm_start_dir=start,
    )


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [None, AdapterConfig(rank=4, alpha=8)], ids=["full", "lora"])
def test_warm_start_begins_with_the_predictions_of_the_version(
    adapter: AdapterConfig | None, tiny_base: Callable[[str], Path], tmp_path: Path
) -> None:
    recipe = EncoderRecipe(
        base=BaseModelRef(str(tiny_base("bert-uncased"))), adapter=adapter, schedule=QUICK
    )
    store = ModelStore(tmp_path / "models")
    manifest = publish_trained(
        trained(recipe, tmp_path / "a"), SIDES, store=store, tier="encoder", name="first"
    )
    folder = store.version_folder("encoder", manifest.version)
    begun = trained(replace(recipe, schedule=STILL), tmp_path / "b", folder)
    asked = [Document(one.id, one.text) for one in toy_documents(8, seed=5)]
    spans = [one.spans for one in load_tagger(folder, device=torch.device("cpu")).predict(asked)]
    assert any(spans)
    assert [one.spans for one in begun.tagger.predict(asked)] == spans
    cold = trained(replace(recipe, schedule=STILL), tmp_path / "c")
    assert [one.spans for one in cold.tagger.predict(asked)] != spans


def test_incompatible_start_version_is_refused(
    publish: Callable[..., Manifest], store: ModelStore
) -> None:
    manifest = read_manifest(store.version_folder("encoder", publish().version))
    recipe = EncoderRecipe(base=BaseModelRef(manifest.base))
    assert "Gene" in explain_no_warm_start(manifest, recipe, ("Gene",))
    other = explain_no_warm_start(
        manifest, replace(recipe, base=BaseModelRef("another/base")), LABELS
    )
    assert "base" in other


def test_manifest_names_the_start_version() -> None:
    assert "start" not in SIDES.to_json()
    assert replace(SIDES, warm_start_version="first-1").to_json()["start"] == "first-1"
