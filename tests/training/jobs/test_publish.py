"""Compiled models: made by training, used by commands that predict, or switched off."""

import json
from pathlib import Path

import pytest

from tagalong.backend.models.encoder.tagger import EncoderTagger
from tagalong.backend.models.openvino import OPENVINO_SWITCH
from tagalong.backend.storage.model_store import ModelStore
from tagalong.cli.terminal.options import load_tagger_by_reference, open_store
from tagalong.ner.manifest import read_manifest
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.jobs import publish
from tagalong.training.loop.trainer import TrainResult
from tagalong.training.recipes.encoder_recipe import EncoderRecipe
from tagalong.training.recipes.schedule import TrainingHistory
from tests.cli.run_command import run, run_failing
from tests.cli.train.test_encoder import SETTINGS, write_corpus
from tests.errors import failed
from tests.lexicon_tagger import LEXICON, LexiconTagger
from tests.toy_corpus import toy_documents
from tests.versions import publish_number

pytestmark = pytest.mark.usefixtures("own_cache")


def runs_on(models: Path) -> str:
    tagger = load_tagger_by_reference(open_store(models), "encoder", use_openvino=True)
    assert isinstance(tagger, EncoderTagger)
    return tagger.runner.name


@pytest.mark.slow
def test_training_compiles_a_model_that_predicts(
    tmp_path: Path, tiny_base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(OPENVINO_SWITCH, "true")
    models, export = tmp_path / "models", write_corpus(tmp_path / "e.jsonl", toy_documents(40))
    train = ("train", "encoder", export, "--base", tiny_base("bert-uncased"), "--models", models)
    assert "OpenVINO" in run(*train, *SETTINGS).stderr
    assert runs_on(models).startswith("OpenVINO")
    asked = ("--json", "--models", models)
    assert (
        json.loads(run("models", "compile", "encoder", *asked).stdout)["check"]["documents"] == 48
    )
    monkeypatch.setenv(OPENVINO_SWITCH, "false")
    assert runs_on(models).startswith("PyTorch")


def test_compiling_a_missing_version_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    failed(run_failing(capsys, "models", "compile", "gone"), "version-not-found")


def test_trainer_without_transformers_publishes(tmp_path: Path) -> None:
    def save(folder: Path) -> None:
        (folder / "terms.json").write_text(json.dumps(LEXICON))

    trained = TrainResult(
        LexiconTagger("unpublished"), TrainingHistory(), EncoderRecipe(), (), True, save
    )
    split = TrainDevSplit((), toy_documents(2), ("Chemical", "Disease"))
    store = ModelStore(tmp_path)
    manifest = publish.publish(trained, split, store=store, tier="terms", name="terms")
    assert list(manifest.files) == ["terms.json"]
    assert read_manifest(store.resolve(manifest.version)) == manifest


def test_version_is_published_if_compiling_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setenv(OPENVINO_SWITCH, "true")
    monkeypatch.setattr(publish, "compile_version", fail)
    store = ModelStore(tmp_path)
    manifest = publish_number(store, 1)
    reason = publish.compile_published_version(store, manifest, TrainDevSplit((), (), (), ()))
    assert "FileNotFoundError" in reason
