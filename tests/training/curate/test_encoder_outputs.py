"""Vectors of every encoder family, and calibrated tag probabilities."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.models.decoding.viterbi import FloatArray
from tagalong.backend.models.encoder.runner import TorchRunner
from tagalong.backend.models.encoder.tagger import EncoderTagger
from tagalong.backend.models.text.windows import EncodedDocument, WindowConfig, WindowEncoder
from tagalong.ner.document import Document
from tagalong.ner.tags import TagSet
from tagalong.ner.words import word_offsets
from tagalong.training.curate.encoder_outputs import embed_documents, predict_tag_distributions
from tagalong.training.encoder.train import build_encoder
from tagalong.training.recipes.encoder_recipe import EncoderRecipe
from tagalong.training.recipes.recipe import AdapterConfig
from tests.tiny_bases import FAMILIES
from tests.toy_corpus import LABELS, toy_documents

CPU = torch.device("cpu")


def tagger_of(folder, *, adapter: AdapterConfig | None = None, reading: WindowConfig | None = None):
    recipe = EncoderRecipe(
        base=BaseModelRef(str(folder)),
        adapter=adapter,
        window_config=reading or WindowConfig(96, 8),
    )
    tag_set = TagSet(LABELS)
    torch.manual_seed(1)
    model = build_encoder(recipe, tag_set, device=CPU).eval()
    windows = WindowEncoder(recipe.base.load_tokenizer(), recipe.window_config)
    return EncoderTagger(
        TorchRunner(model, precision="fp32"), windows, tag_set=tag_set, version="v"
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("adapter", [None, AdapterConfig(rank=4, alpha=8)])
def test_vectors_of_every_family_have_unit_length(family: str, adapter, tiny_base) -> None:
    tagger = tagger_of(tiny_base(family), adapter=adapter)
    documents = [*toy_documents(5, sentences=9), Document("empty", ""), Document("blank", " \n")]
    found = embed_documents(tagger, documents)
    assert found.shape == (7, tagger.runner.model.config.hidden_size)
    assert np.linalg.norm(found, axis=1) == pytest.approx([1, 1, 1, 1, 1, 0, 0])
    backward = embed_documents(tagger, documents[::-1])[::-1]
    assert found == pytest.approx(backward, abs=1e-5)


def test_vector_is_the_mean_over_words(tiny_base) -> None:
    tagger = tagger_of(tiny_base("bert-uncased"), reading=WindowConfig(96, 0))
    [document] = toy_documents(1, sentences=1)
    [window] = tagger.window_encoder.encode([document.text], [word_offsets(document.text)])
    with torch.inference_mode():
        states = (
            tagger.runner.model.bert(torch.tensor([window.input_ids])).last_hidden_state[0].numpy()
        )
    mean = states[window.owned_positions].mean(axis=0)
    assert embed_documents(tagger, [document])[0] == pytest.approx(
        mean / np.linalg.norm(mean), abs=1e-5
    )


def test_vectors_do_not_depend_on_batching(tiny_base) -> None:
    tagger = tagger_of(tiny_base("minilm"))
    documents = toy_documents(7, sentences=6)
    together = embed_documents(tagger, documents)
    tagger.documents_per_chunk = 2
    assert embed_documents(tagger, documents) == pytest.approx(together, abs=1e-5)
    one = embed_documents(tagger, [replace(documents[3], spans=())])
    assert one[0] == pytest.approx(together[3], abs=1e-5)


class Scripted(EncoderTagger):
    """Gives every word the same logits."""

    logits = (2 * math.log(2), 0.0, 0.0)

    def encode(self, documents: Any) -> list[EncodedDocument[Any]]:
        return [
            EncodedDocument(document, word_offsets(document.text), ()) for document in documents
        ]

    def run(self, encoded: Any) -> list[FloatArray]:
        return [np.array([self.logits] * len(one.words)).reshape(-1, 3) for one in encoded]


def test_probabilities_use_the_served_temperature() -> None:
    runner: Any = SimpleNamespace(
        name="scripted", can_use_openvino=False, streams=1, parts_per_turn=1
    )
    window_encoder: Any = None
    tags = TagSet(("Disease",))
    tagger = Scripted(runner, window_encoder, tag_set=tags, version="v", temperature=2.0)
    two, none = predict_tag_distributions(tagger, [Document("1", "alpha beta"), Document("2", "")])
    # Temperature 2 makes the logits ln 2, 0 and 0, so O has 2/4. Uncalibrated, it would have 4/6.
    assert np.exp(two.log_probs) == pytest.approx(np.array([[2 / 4, 1 / 4, 1 / 4]] * 2))
    assert two.predicted_tags.tolist() == [0, 0]
    assert (none.log_probs.shape, none.predicted_tags.shape) == ((0, 3), (0,))
