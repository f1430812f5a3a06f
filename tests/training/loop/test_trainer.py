"""The training loop: early stopping, best epoch and refused states."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn
from transformers import get_linear_schedule_with_warmup

from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.models.text.windows import WindowConfig
from tagalong.ner.errors import TrainingError
from tagalong.training.loop.trainer import Trainer, TrainingTask, create_accelerator
from tagalong.training.recipes.encoder_recipe import EncoderRecipe
from tagalong.training.recipes.recipe import AdapterConfig, recipe_from_json, recipe_to_json
from tagalong.training.recipes.schedule import Schedule
from tests.errors import raises

SCHEDULE = Schedule(epochs=9, learning_rate=0.1, patience=2, batch_tokens=4, ema_decay=0.0)


def make_loop(scores, state, *, loss=None, score_dev=None, schedule=SCHEDULE, items=8, model=None):
    """A loop over a model of one weight, with scripted dev scores."""
    model = model or nn.Linear(1, 1, bias=False)
    reports = iter(scores)

    def collate(indices):
        return {"attention_mask": torch.ones(len(indices), 1), "x": torch.ones(len(indices), 1)}

    return model, Trainer(
        model,
        TrainingTask(
            lengths=[1] * items,
            collate=collate,
            loss=loss or (lambda model, batch: (model(batch["x"]) ** 2).mean()),
            score_dev=score_dev or (lambda: next(reports)),
        ),
        schedule=schedule,
        accelerator=create_accelerator(schedule),
        state_path=state,
    )


@pytest.mark.parametrize(
    ("scores", "epochs", "best"),
    [
        ([0.1, 0.3, 0.2, 0.2, 0.9], 4, 1),  # two epochs without improvement
        ([0.5, 0.5, 0.5, 0.9], 3, 2),  # the later epoch of a tie is kept
        (
            [0.0, 0.0, 0.0, 0.0, 0.4, 0.3, 0.2, 0.9],
            7,
            4,
        ),  # patience starts after the first entity is found
        ([0.1 * step for step in range(9)], 9, 8),  # improves until the end
    ],
)
def test_early_stopping(scores, epochs, best, tmp_path):
    _, loop = make_loop(scores, tmp_path / "state")
    outcome = loop.run(on_progress=lambda _: None)
    assert (len(outcome.dev_scores), outcome.best_epoch) == (epochs, best)


@pytest.mark.parametrize(
    ("least", "epochs", "patience"), [(0, 9, 2), (18, 9, 2), (19, 10, 2), (36, 18, 4)]
)
def test_min_steps_add_epochs(tmp_path, least, epochs, patience):
    schedule = replace(SCHEDULE, min_steps=least)  # an epoch has two steps
    _, loop = make_loop([0.01 * step for step in range(99)], tmp_path / "a", schedule=schedule)
    reports = []
    assert len(loop.run(on_progress=reports.append).dev_scores) == epochs
    assert {(now.epochs, now.steps) for now in reports} == {(epochs, 2 * epochs)}
    _, loop = make_loop([0.9] + [0.1] * 99, tmp_path / "b", schedule=schedule)
    assert len(loop.run(on_progress=lambda _: None).dev_scores) == 1 + patience


def test_best_epoch_is_kept(tmp_path):
    weights, scores = [], iter([0.1, 0.7, 0.2, 0.3])

    def evaluate():
        weights.append(model.weight.item())
        return next(scores)

    model, loop = make_loop([], tmp_path / "state", score_dev=evaluate)
    outcome = loop.run(on_progress=lambda _: None)
    assert outcome.best_epoch == 1
    assert model.weight.item() == weights[1]
    assert len(set(weights)) == len(weights)  # else the test proves nothing


@pytest.mark.parametrize(("share", "first"), [(0.0, 0), (0.5, 3), (1 / 3, 2), (1.0, 6)])
def test_dropout_starts_after_its_share_of_steps(tmp_path, share, first):
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Dropout(0.5))
    schedule = replace(SCHEDULE, epochs=3, dropout_start_ratio=share)
    drops = []

    def loss(model, batch):
        drops.append(model[1].training)
        return (model(batch["x"]) ** 2).mean()

    def evaluate():
        model.eval()  # as every evaluation does
        return 0.1 * len(drops)

    _, loop = make_loop(
        [], tmp_path / "state", loss=loss, score_dev=evaluate, schedule=schedule, model=model
    )
    loop.run(on_progress=lambda _: None)
    assert drops == [step >= first for step in range(6)]


def test_nan_loss_ends_the_training(tmp_path):
    _, loop = make_loop(
        [0.5] * 9,
        tmp_path / "state",
        loss=lambda model, batch: model(batch["x"]).mean() * torch.nan,
    )
    with raises(TrainingError, "loss-not-finite"):
        loop.run(on_progress=lambda _: None)


def test_damaged_state_is_reported(tmp_path):
    state = tmp_path / "state"
    state.write_bytes(b"PK\x03\x04 not all there")
    _, loop = make_loop([0.5], state)
    with raises(TrainingError, "training-state-damaged"):
        loop.run(on_progress=lambda _: None, resume=True)


def test_state_of_another_plan_is_not_resumed(tmp_path):
    state = tmp_path / "state"
    _, loop = make_loop([0.9, 0.1, 0.1], state)
    loop.run(on_progress=lambda _: None)
    _, other = make_loop([0.9, 0.1, 0.1], state, items=9)
    with raises(TrainingError, "training-state-mismatch"):
        other.run(on_progress=lambda _: None, resume=True)


def test_full_disk_keeps_the_previous_state(tmp_path, monkeypatch):
    state = tmp_path / "state"
    _, loop = make_loop([0.9, 0.1, 0.1], state)
    loop.run(on_progress=lambda _: None)
    before = state.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    _, again = make_loop([0.9, 0.1, 0.1], state)
    with raises(TrainingError, "training-state-unwritable") as raised:
        again.run(on_progress=lambda _: None)
    assert "No space left" in str(raised.value)
    assert state.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


@pytest.mark.parametrize("adapter", [None, AdapterConfig(rank=4, alpha=8)])
def test_recipe_round_trips_through_manifest(adapter):
    base = BaseModelRef("some/base", "0123abc")
    recipe = EncoderRecipe(
        base=base,
        adapter=adapter,
        window_config=WindowConfig(200, 20),
        schedule=replace(SCHEDULE, seed=7),
    )
    config = {name: value for name, value in recipe_to_json(recipe).items() if name != "base"}
    assert recipe_from_json(EncoderRecipe, json.loads(json.dumps(config)), base) == recipe


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5, 1.0])
def test_learning_rate_follows_the_linear_schedule_of_transformers(tmp_path, warmup: float) -> None:
    schedule = replace(SCHEDULE, warmup=warmup)
    _, trainer = make_loop([], tmp_path / "state", schedule=schedule)
    steps = trainer._steps
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    expected = get_linear_schedule_with_warmup(optimizer, int(warmup * steps), steps)
    for _ in range(steps + 2):
        assert trainer._scheduler.get_last_lr()[0] == expected.get_last_lr()[0]
        for part in (trainer._optimizer, optimizer, trainer._scheduler, expected):
            part.step()
