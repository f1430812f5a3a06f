"""Versions of one base share what is equal, and each predicts as if it were alone."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, TaskType, get_peft_model
from torch import nn

from tagalong.backend.models.base_models import sharing
from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.models.base_models.save import save_model
from tagalong.backend.models.base_models.sharing import SharedObjects, share_parameters
from tagalong.backend.models.encoder.tagger import EncoderTagger
from tagalong.backend.models.load import load_tagger
from tagalong.backend.models.openvino import cache
from tagalong.backend.models.openvino import compile as compiling
from tagalong.backend.models.openvino.compile import compile_version
from tagalong.backend.models.openvino.runner import OpenVINORunner
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.manifest import VersionMetadata
from tagalong.ner.tags import TagSet
from tests.toy_corpus import LABELS, toy_documents

pytestmark = pytest.mark.usefixtures("own_cache")
CPU = torch.device("cpu")
DOCUMENTS = toy_documents(6)


@pytest.fixture
def adapters(
    tiny_base: Callable[[str], Path], store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> list[Path]:
    """Two adapters on one base, with label sets of their own."""
    monkeypatch.setattr(sharing, "MIN_SHARED_BYTES", 0)  # the base is tiny
    base = BaseModelRef(str(tiny_base("bert-uncased"))).with_pinned_revision()
    return [publish_adapter(base, store, labels) for labels in (LABELS, LABELS[:1])]


def publish_adapter(base: BaseModelRef, store: ModelStore, labels: tuple[str, ...]) -> Path:
    torch.manual_seed(len(labels))
    model = get_peft_model(
        base.load_token_classifier(TagSet(labels).tag_names),
        LoraConfig(
            task_type=TaskType.TOKEN_CLS,
            target_modules=["query", "value", "dense"],
            init_lora_weights=False,  # else it would change nothing
        ),
    )
    metadata = VersionMetadata(
        tier="encoder",
        name="tiny",
        base=base.reference,
        base_revision=base.revision,
        labels=labels,
        config={"reading": {"window": 48, "context": 8}},
    )
    with store.staging_folder("encoder") as folder:
        save_model(model, base.load_tokenizer(), folder, base=base)
        return store.resolve(store.publish(folder, metadata).version)


def scores_of(tagger: EncoderTagger) -> np.ndarray:
    return np.concatenate(tagger.run(tagger.encode(DOCUMENTS)))


def loaded(folder: Path, *, use_openvino: bool = False) -> EncoderTagger:
    tagger = load_tagger(folder, device=CPU, precision="fp32", use_openvino=use_openvino)
    assert isinstance(tagger, EncoderTagger)
    assert isinstance(tagger.runner, OpenVINORunner) == use_openvino
    return tagger


def embeddings_of(tagger: EncoderTagger) -> nn.Parameter:
    return tagger.runner.model.get_input_embeddings().weight


def test_adapters_share_the_base_and_predict_as_if_alone(adapters: list[Path]) -> None:
    alone = [scores_of(loaded(folder)) for folder in adapters]
    gc.collect()
    first, second = taggers = [loaded(folder) for folder in adapters]
    for tagger, expected in zip(taggers, alone, strict=True):
        np.testing.assert_array_equal(scores_of(tagger), expected)
    assert embeddings_of(first).data_ptr() == embeddings_of(second).data_ptr()
    own = {one.data_ptr() for one in first.runner.model.parameters()}
    left = [one for one in second.runner.model.parameters() if one.data_ptr() not in own]
    assert second.memory_bytes == sum(one.nbytes for one in left) > 0  # the adapted ones
    assert first.window_encoder.tokenizer is second.window_encoder.tokenizer
    np.testing.assert_array_equal(scores_of(first), alone[0])


def test_unloading_the_last_version_frees_what_was_shared(adapters: list[Path]) -> None:
    taggers = [loaded(folder) for folder in adapters]
    embeddings = weakref.ref(embeddings_of(taggers[0]))
    tokenizer = weakref.ref(taggers[0].window_encoder.tokenizer)
    expected = scores_of(taggers[1])
    del taggers[0]
    gc.collect()
    np.testing.assert_array_equal(scores_of(taggers[0]), expected)
    assert embeddings() is not None
    assert tokenizer() is not None
    taggers.clear()
    gc.collect()
    assert embeddings() is None
    assert tokenizer() is None


def test_compiled_adapters_share_word_embeddings_and_predict_as_if_alone(
    adapters: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (compiling, cache):  # else one of them may fail the check in 8 bits
        monkeypatch.setattr(module, "int8_instruction_set", lambda: "")
    for folder in adapters:
        compile_version(folder, quantization_documents=DOCUMENTS, check_documents=DOCUMENTS)
    alone = [scores_of(loaded(folder, use_openvino=True)) for folder in adapters]
    gc.collect()
    first, second = taggers = [loaded(folder, use_openvino=True) for folder in adapters]
    for tagger, expected in zip(taggers, alone, strict=True):
        np.testing.assert_array_equal(scores_of(tagger), expected)
    assert first.runner._embeddings is second.runner._embeddings is not None
    before = first.memory_bytes
    first.runner.add_streams()
    assert first.memory_bytes > before > 0
    embeddings, runner = weakref.ref(first.runner._embeddings), weakref.ref(first.runner)
    del first, second, tagger
    taggers.clear()
    gc.collect()
    assert runner() is None
    assert embeddings() is None


def test_tensors_with_other_values_or_types_are_not_shared(monkeypatch) -> None:
    monkeypatch.setattr(sharing, "MIN_SHARED_BYTES", 0)
    models = [nn.Linear(2, 2, bias=False) for _ in range(4)]
    for model in models:
        nn.init.zeros_(model.weight)
    nn.init.ones_(models[1].weight)
    models[2].to(torch.float64)
    assert [share_parameters(model) for model in models] == [16, 16, 32, 0]
    assert models[3].weight is models[0].weight
    assert len({id(model.weight) for model in models}) == 3


def test_shared_object_is_made_once_and_again_after_its_last_use() -> None:
    made = []

    class Vocabulary:
        pass

    def make() -> Vocabulary:
        made.append(1)
        return Vocabulary()

    shared = SharedObjects[Vocabulary]()
    first, second = shared.get("a", make), shared.get("a", make)
    assert first is second
    assert shared.get("b", make) is not first
    assert len(made) == 2
    del first, second
    gc.collect()
    shared.get("a", make)
    assert len(made) == 3
