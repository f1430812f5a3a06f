"""Loading of LLM versions in every weights mode, and errors."""

import logging
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from tagalong.backend.models.base_models.four_bit import four_bit_unavailable_reason
from tagalong.backend.models.base_models.load_options import BaseModelCache
from tagalong.backend.models.llm.tagger import LLMTagger
from tagalong.backend.models.load import load_tagger
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.document import Document
from tagalong.ner.errors import BaseModelError, VersionInvalid
from tagalong.ner.manifest import VersionMetadata, read_manifest
from tests.errors import raises
from tests.lexicon_tagger import LexiconTagger
from tests.llm_versions import CPU, other_tags, publish_llm_version
from tests.tiny_bases import CORPUS
from tests.tiny_llms import TAGS, random_texts, save_llm

UNKNOWN_TOKENS = ("nope", "a", "b", "c", "d")
DOCUMENTS = [Document(str(n), text) for n, text in enumerate(random_texts(4, 6, longest=40))]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llm(tmp_path_factory.mktemp("llm") / "base", CORPUS, initializer_range=0.15)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    return ModelStore(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def version(base: Path, models: ModelStore) -> Path:
    return publish_llm_version(models, base)


@pytest.fixture
def without_4bit(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "bitsandbytes.functional", None)
    four_bit_unavailable_reason.cache_clear()
    yield
    four_bit_unavailable_reason.cache_clear()


def loaded(folder: Path, **options: Any) -> LLMTagger:
    tagger = load_tagger(folder, device=CPU, **options)
    assert isinstance(tagger, LLMTagger)
    return tagger


def predict_tags(tagger: LLMTagger) -> list[tuple[list[int], Any]]:
    return tagger.decode_words(DOCUMENTS)


def assert_agree(one: LLMTagger, other: LLMTagger, *, within: float) -> None:
    for (tags, logits), (others, theirs) in zip(
        predict_tags(one), predict_tags(other), strict=True
    ):
        assert tags == others
        np.testing.assert_allclose(logits, theirs, atol=within)


def test_only_the_adapter_is_stored(version: Path) -> None:
    names = {path.name for path in version.iterdir()}
    assert "adapter_model.safetensors" in names
    assert "model.safetensors" not in names
    whole = sum(path.stat().st_size for path in version.glob("*.safetensors"))
    assert whole < 400_000  # with the output layer, it would be 200 kB larger


def test_merged_and_unmerged_adapter_agree(version: Path) -> None:
    merged, adapter = loaded(version), loaded(version, weights_mode="adapter")
    assert_agree(merged, adapter, within=1e-3)
    assert not hasattr(merged.slot_decoder.scorer.model, "peft_config")
    assert hasattr(adapter.slot_decoder.scorer.model, "peft_config")
    assert merged.version == adapter.version == version.name


def test_adapter_on_tied_output_layer(base: Path, tmp_path: Path) -> None:
    """Merged into tied weights, the adapter would change the input embeddings too."""
    tied = tmp_path / "tied"
    shutil.copytree(base, tied)
    model = AutoModelForCausalLM.from_pretrained(base)
    model.config.tie_word_embeddings = True
    model.tie_weights()
    model.save_pretrained(tied)
    folder = publish_llm_version(ModelStore(tmp_path / "models"), tied)
    merged = loaded(folder)
    assert_agree(merged, loaded(folder, weights_mode="adapter"), within=1e-3)
    whole = merged.slot_decoder.scorer.model
    assert torch.equal(whole.get_input_embeddings().weight, model.get_input_embeddings().weight)
    assert not torch.equal(whole.get_output_embeddings().weight, model.lm_head.weight)


def test_4bit_weights_are_close(version: Path) -> None:
    exact, four_bit = (
        predict_tags(loaded(version)),
        predict_tags(loaded(version, weights_mode="nf4")),
    )
    # Of the first word, before any tag is fed back.
    ours, theirs = (np.stack([logits[0] for _, logits in one]) for one in (exact, four_bit))
    assert not np.array_equal(ours, theirs)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.6  # 4 bits of random weights are far


def test_version_without_4bit_support_is_served_in_higher_precision_with_one_warning(
    version: Path, without_4bit: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="tagalong.backend"):
        tagger = loaded(version, weights_mode="nf4")
    assert len(caplog.records) == 1
    assert tagger.version in caplog.text
    assert_agree(tagger, loaded(version), within=0)


def test_full_model_is_a_version(base: Path, tmp_path: Path) -> None:
    folder = publish_llm_version(ModelStore(tmp_path / "models"), base, full=True)
    shutil.copytree(base, tmp_path / "base")
    assert (folder / "model.safetensors").is_file()
    assert_agree(loaded(folder), loaded(folder, weights_mode="adapter"), within=0)


@pytest.mark.parametrize("weights", ["adapter", "nf4"])
def test_adapters_share_one_base_model_independently(
    weights: Any, base: Path, models: ModelStore, version: Path
) -> None:
    kept = BaseModelCache()
    first = loaded(version, weights_mode=weights, base_model_cache=kept)
    alone = predict_tags(first)
    second = loaded(
        publish_llm_version(models, base, seed=1), weights_mode=weights, base_model_cache=kept
    )
    assert [tags for tags, _ in predict_tags(second)] != [tags for tags, _ in alone]
    for (tags, logits), (others, theirs) in zip(predict_tags(first), alone, strict=True):
        assert tags == others  # unchanged after another adapter was loaded
        assert np.array_equal(logits, theirs)
    one, other = (tagger.slot_decoder.scorer.model.get_decoder() for tagger in (first, second))
    assert one.embed_tokens.weight is other.embed_tokens.weight
    layers = (decoder.layers[0].mlp.up_proj.base_layer.weight for decoder in (one, other))
    assert next(layers) is next(layers)


def test_drafts_do_not_change_tags(version: Path) -> None:
    plain, drafted = loaded(version), loaded(version, drafter=LexiconTagger("e-1").predict)
    assert [entry.spans for entry in plain.predict(DOCUMENTS)] == [
        entry.spans for entry in drafted.predict(DOCUMENTS)
    ]
    assert drafted.decoding_stats.slots == plain.decoding_stats.slots


def test_missing_base_model(base: Path, tmp_path: Path) -> None:
    moved = tmp_path / "base"
    shutil.copytree(base, moved)
    folder = publish_llm_version(ModelStore(tmp_path / "models"), moved)
    shutil.rmtree(moved)
    with raises(BaseModelError, "base-model-missing"):
        load_tagger(folder, device=CPU)


def test_changed_base_model(base: Path, tmp_path: Path) -> None:
    place = tmp_path / "base"
    shutil.copytree(base, place)
    folder = publish_llm_version(ModelStore(tmp_path / "models"), place)
    model = AutoModelForCausalLM.from_pretrained(place)
    with torch.no_grad():
        model.lm_head.weight.mul_(2)
    model.save_pretrained(place)
    with raises(BaseModelError, "base-model-changed"):
        load_tagger(folder, device=CPU)


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"verbalisers": other_tags()}, "version-tags-mismatch"),
        ({"prompt": 99}, "version-of-another-prompt"),
        ({"verbalisers": dict.fromkeys(TAGS.tag_names, ").")}, "version-tokenizer-mismatch"),
        (
            {"verbalisers": dict(zip(TAGS.tag_names, UNKNOWN_TOKENS, strict=True))},
            "version-tokenizer-mismatch",
        ),
    ],
)
def test_weights_that_do_not_match_the_manifest(
    config: dict[str, Any], code: str, base: Path, tmp_path: Path
) -> None:
    folder = publish_llm_version(ModelStore(tmp_path / "models"), base, config=config)
    with raises(VersionInvalid, code) as raised:
        load_tagger(folder, device=CPU)
    assert "\n" not in str(raised.value)


def test_labels_changed_after_training(base: Path, tmp_path: Path) -> None:
    folder = publish_llm_version(ModelStore(tmp_path / "models"), base, labels=("Chemical", "Gene"))
    with raises(VersionInvalid, "version-tags-mismatch"):
        load_tagger(folder, device=CPU)


def test_manifest_without_prompt_version(base: Path, tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models")
    folder = publish_llm_version(store, base)
    manifest = read_manifest(folder)
    draft = VersionMetadata(tier="llm", name="tiny", base=manifest.base, labels=manifest.labels)
    with store.staging_folder("llm") as staged:
        shutil.copytree(folder, staged, dirs_exist_ok=True)
        (staged / "manifest.json").unlink()
        bare = store.publish(staged, draft)
    with raises(VersionInvalid, "version-without-prompt"):
        load_tagger(store.resolve(f"llm/{bare.version}"), device=CPU)
