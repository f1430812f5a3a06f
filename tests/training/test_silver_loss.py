"""The weighted loss on silver words, and the unchanged loss on gold words."""

import random
from dataclasses import replace

import pytest
import torch

from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.models.text.windows import WindowConfig, WindowEncoder
from tagalong.ner.document import Document, Span
from tagalong.ner.tags import IGNORE_INDEX, TagSet
from tagalong.ner.words import word_offsets
from tagalong.training.data.silver import SilverData, SilverDocument
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.encoder import train
from tagalong.training.encoder.dataset import TrainingWindows, build_token_loss
from tagalong.training.encoder.train import build_encoder, train_encoder
from tagalong.training.loop.ema import trainable_parameters
from tagalong.training.recipes.encoder_recipe import EncoderRecipe
from tagalong.training.recipes.schedule import Schedule
from tests.toy_corpus import LABELS, toy_documents

TAGS = TagSet(LABELS)
GOLD, DEV = toy_documents(6, seed=1), toy_documents(4, seed=2)


def recipe_for(base, **changes):
    schedule = Schedule(epochs=2, learning_rate=2e-3, batch_tokens=256, precision="fp32")
    recipe = EncoderRecipe(
        base=BaseModelRef(str(base)),
        train_window_config=WindowConfig(64, 8),
        schedule=schedule,
        mask_probability=0.0,
    )
    return replace(recipe, **changes)


class SilverBatch:
    """Losses and gradients of a batch of gold and silver."""

    def __init__(self, base):
        self.recipe = recipe_for(base)
        self.tokenizer = self.recipe.base.load_tokenizer()
        torch.manual_seed(0)
        self.model = build_encoder(self.recipe, TAGS, device=torch.device("cpu")).eval()
        self.loss = build_token_loss(self.recipe, self.tokenizer)

    def dataset(self, documents, silver=(), *, window_config=None):
        windows = WindowEncoder(self.tokenizer, window_config or self.recipe.train_window_config)
        return TrainingWindows(documents, tag_set=TAGS, windows=windows, silver=silver)

    def batch(self, *documents, **options):
        dataset = self.dataset(*documents, **options)
        return dataset.collate(range(len(dataset.lengths)))

    def loss_and_gradients(self, batch):
        """The loss and all gradients."""
        self.model.zero_grad()
        loss = self.loss(self.model, batch)
        loss.backward()
        return loss.item(), torch.cat(
            [w.grad.flatten() for _, w in trainable_parameters(self.model)]
        )


@pytest.fixture(scope="module")
def silver_batch(tiny_base):
    return SilverBatch(tiny_base("bert-uncased"))


def silver_of(documents, weights):
    return [
        SilverDocument(one, tuple(weights() for _ in word_offsets(one.text))) for one in documents
    ]


def test_unit_weights_equal_no_weights(silver_batch):
    ours = toy_documents(4, seed=9)
    plain = silver_batch.batch([*GOLD, *ours])
    silver = silver_batch.batch(GOLD, silver_of(ours, lambda: 1.0))
    assert silver.keys() == plain.keys()
    assert all(torch.equal(silver[name], plain[name]) for name in plain)
    loss, gradients = silver_batch.loss_and_gradients(silver)
    expected, expected_gradients = silver_batch.loss_and_gradients(plain)
    assert loss == expected
    assert torch.equal(gradients, expected_gradients)
    weighted = silver_batch.loss_and_gradients(
        {**plain, "weights": torch.ones(plain["labels"].shape)}
    )
    assert weighted[0] == pytest.approx(expected, rel=1e-5)


def test_zero_weight_silver_keeps_gold_gradients(silver_batch):
    loss, gradients = silver_batch.loss_and_gradients(silver_batch.batch(GOLD))
    batch = silver_batch.batch(GOLD, silver_of(toy_documents(9, seed=9), lambda: 0.0))
    assert len(batch["labels"]) > len(GOLD)
    other, others = silver_batch.loss_and_gradients(batch)
    assert other == pytest.approx(loss, rel=1e-5)
    assert torch.allclose(others, gradients, rtol=1e-3, atol=1e-6)


def test_weights_are_normalized_to_mean_1(silver_batch):
    chance = random.Random(0)
    silver = silver_of(toy_documents(4, seed=9), chance.random)
    batch = silver_batch.batch(
        GOLD, silver, window_config=WindowConfig()
    )  # one window per document
    known = batch["labels"] != IGNORE_INDEX
    assert batch["weights"][known].mean().item() == pytest.approx(1, rel=1e-5)
    assert not batch["weights"][~known].any()
    found = batch["weights"][known] / batch["weights"].max()
    given = torch.tensor([weight for one in silver for weight in one.word_weights])
    expected = torch.cat([torch.ones(len(found) - len(given)), given])
    assert torch.allclose(found, expected, rtol=1e-4)


def test_losses_equal_those_of_gold(silver_batch):
    gene = Document("d", "BRCA1", (Span(0, 5, "Gene"),))
    dataset = silver_batch.dataset([*GOLD, gene], silver_of([gene], lambda: 0.5))
    assert [lost.label for lost in dataset.dropped] == [
        "Gene"
    ]  # silver reports its own dropped spans dropped spans


def test_certain_silver_of_full_weight_equals_gold(tiny_base, tmp_path, monkeypatch):
    counted = []
    count = train.estimate_transitions
    monkeypatch.setattr(
        train,
        "estimate_transitions",
        lambda tags, of: (counted.append(len(tags)), count(tags, of))[1],
    )
    ours = toy_documents(6, seed=9)
    recipe = recipe_for(tiny_base("bert-uncased"), mask_probability=0.1)
    gold_split = TrainDevSplit([*GOLD, *ours], DEV, LABELS)
    plain = train_encoder(gold_split, recipe=recipe, state_path=tmp_path / "plain")
    silver = silver_of(ours, lambda: 1.0)
    both = TrainDevSplit(GOLD, DEV, LABELS, silver=SilverData(tuple(silver)))
    beside = train_encoder(both, recipe=recipe, state_path=tmp_path / "beside")
    assert beside.history == plain.history
    assert counted == [len(GOLD) + len(ours), len(GOLD)]  # what follows what is learnt from gold
    expected, learnt = (trainable_parameters(one.tagger.runner.model) for one in (plain, beside))
    for (name, weight), (_, other) in zip(expected, learnt, strict=True):
        assert torch.equal(weight, other), name
