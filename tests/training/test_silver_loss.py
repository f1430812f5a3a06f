"""A word of silver counts as much as its weight says, and a word of gold as without any silver."""

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


class Class:
    """Losses and gradients of lessons that are learnt at once."""

    def __init__(self, base):
        self.recipe = recipe_for(base)
        self.tokenizer = self.recipe.base.load_tokenizer()
        torch.manual_seed(0)
        self.model = build_encoder(self.recipe, TAGS, device=torch.device("cpu")).eval()
        self.loss = build_token_loss(self.recipe, self.tokenizer)

    def lessons(self, documents, silver=(), *, window_config=None):
        windows = WindowEncoder(self.tokenizer, window_config or self.recipe.train_window_config)
        return TrainingWindows(documents, tag_set=TAGS, windows=windows, silver=silver)

    def batch(self, *documents, **options):
        lessons = self.lessons(*documents, **options)
        return lessons.collate(range(len(lessons.lengths)))

    def learn(self, batch):
        """The loss and all gradients."""
        self.model.zero_grad()
        loss = self.loss(self.model, batch)
        loss.backward()
        return loss.item(), torch.cat(
            [w.grad.flatten() for _, w in trainable_parameters(self.model)]
        )


@pytest.fixture(scope="module")
def pupils(tiny_base):
    return Class(tiny_base("bert-uncased"))


def silver_of(documents, weights):
    return [
        SilverDocument(one, tuple(weights() for _ in word_offsets(one.text))) for one in documents
    ]


def test_weights_that_are_all_one_are_no_weights(pupils):
    ours = toy_documents(4, seed=9)
    plain = pupils.batch([*GOLD, *ours])
    silver = pupils.batch(GOLD, silver_of(ours, lambda: 1.0))
    assert silver.keys() == plain.keys()
    assert all(torch.equal(silver[name], plain[name]) for name in plain)
    loss, gradients = pupils.learn(silver)
    expected, expected_gradients = pupils.learn(plain)
    assert loss == expected
    assert torch.equal(gradients, expected_gradients)
    weighted = pupils.learn({**plain, "weights": torch.ones(plain["labels"].shape)})
    assert weighted[0] == pytest.approx(expected, rel=1e-5)


def test_silver_without_weight_leaves_the_gradients_of_gold_alone(pupils):
    loss, gradients = pupils.learn(pupils.batch(GOLD))
    batch = pupils.batch(GOLD, silver_of(toy_documents(9, seed=9), lambda: 0.0))
    assert len(batch["labels"]) > len(GOLD)
    other, others = pupils.learn(batch)
    assert other == pytest.approx(loss, rel=1e-5)
    assert torch.allclose(others, gradients, rtol=1e-3, atol=1e-6)


def test_the_mean_of_all_weights_is_one_and_each_is_in_proportion(pupils):
    chance = random.Random(0)
    silver = silver_of(toy_documents(4, seed=9), chance.random)
    batch = pupils.batch(GOLD, silver, window_config=WindowConfig())  # whole documents
    known = batch["labels"] != IGNORE_INDEX
    assert batch["weights"][known].mean().item() == pytest.approx(1, rel=1e-5)
    assert not batch["weights"][~known].any()
    found = batch["weights"][known] / batch["weights"].max()
    given = torch.tensor([weight for one in silver for weight in one.word_weights])
    expected = torch.cat([torch.ones(len(found) - len(given)), given])
    assert torch.allclose(found, expected, rtol=1e-4)


def test_losses_are_those_of_gold(pupils):
    gene = Document("d", "BRCA1", (Span(0, 5, "Gene"),))
    lessons = pupils.lessons([*GOLD, gene], silver_of([gene], lambda: 0.5))
    assert [lost.label for lost in lessons.dropped] == ["Gene"]  # silver reports its own


def test_sure_silver_of_full_weight_is_learnt_as_gold_is(tiny_base, tmp_path, monkeypatch):
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
    expected = dict(trainable_parameters(plain.model))
    assert all(
        torch.equal(weight, expected[name]) for name, weight in trainable_parameters(beside.model)
    )
