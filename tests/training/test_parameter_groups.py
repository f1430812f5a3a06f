"""Learning rates and weight decay by parameter group."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from tagalong.backend.models.base_models.base_model import CLASSIFIER_HEAD_NAMES, BaseModelRef
from tagalong.ner.errors import TrainingError
from tagalong.ner.tags import TagSet
from tagalong.training.encoder.train import build_encoder
from tagalong.training.loop.ema import trainable_parameters
from tagalong.training.loop.optimizers import parameter_groups
from tagalong.training.recipes.encoder_recipe import EncoderRecipe
from tagalong.training.recipes.recipe import AdapterConfig
from tagalong.training.recipes.schedule import Schedule
from tests.errors import raises
from tests.tiny_bases import FAMILIES
from tests.toy_corpus import LABELS

PEAK, SLOWER = 0.004, 0.5
SCHEDULE = Schedule(learning_rate=PEAK, layer_decay=SLOWER, weight_decay=0.1)
Settings = dict[str, tuple[float, float]]


def build(base: Path, adapter: AdapterConfig | None = None) -> nn.Module:
    recipe = EncoderRecipe(base=BaseModelRef(str(base)), adapter=adapter)
    return build_encoder(recipe, TagSet(LABELS), device=torch.device("cpu"))


def settings(model: nn.Module, schedule: Schedule = SCHEDULE) -> Settings:
    """Learning rate and decay by name. Each trained weight is in one group."""
    groups = parameter_groups(model, schedule)
    found = {
        id(weight): (group["lr"], group["weight_decay"])
        for group in groups
        for weight in group["params"]
    }
    names = dict(trainable_parameters(model))
    assert len(found) == len(names) == sum(len(group["params"]) for group in groups)
    return {name: found[id(weight)] for name, weight in names.items()}


def rates(of: Settings, *parts: str) -> set[float]:
    return {rate for name, (rate, _) in of.items() if any(part in name for part in parts)}


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest, tiny_base: Callable[[str], Path]) -> nn.Module:
    return build(tiny_base(request.param))


def test_deeper_layers_have_lower_learning_rates(model: nn.Module) -> None:
    of = settings(model)
    assert rates(of, *(f"{head}." for head in CLASSIFIER_HEAD_NAMES)) == {PEAK}
    assert rates(of, "layer.1.", "layers.1.") == {PEAK}  # the layer next to the head
    assert rates(of, "layer.0.", "layers.0.") == {PEAK * SLOWER}
    assert rates(of, "embed") == {PEAK * SLOWER**2}


def test_biases_and_norms_have_no_weight_decay(model: nn.Module) -> None:
    of = settings(model)
    for name, weight in trainable_parameters(model):
        vector = name.endswith("bias") or "norm" in name.lower()
        assert of[name][1] == (0.0 if vector else 0.1), name
        assert (weight.ndim == 1) == vector, name


def test_one_learning_rate_without_layer_decay(model: nn.Module) -> None:
    of = settings(model, replace(SCHEDULE, layer_decay=1.0))
    assert {rate for rate, _ in of.values()} == {PEAK}


@pytest.mark.parametrize("family", ["bert-uncased", "mistral"])
def test_adapter_layers_have_their_own_rates(family: str, tiny_base: Callable[[str], Path]) -> None:
    of = settings(build(tiny_base(family), AdapterConfig(rank=2, alpha=4)))
    assert rates(of, "layer.1.", "layers.1.") == {PEAK}
    assert rates(of, "layer.0.", "layers.0.") == {PEAK * SLOWER}
    assert rates(of, *CLASSIFIER_HEAD_NAMES) == {PEAK}
    assert all(
        "lora_" in name or any(head in name for head in CLASSIFIER_HEAD_NAMES) for name in of
    )


def test_learning_rate_is_required() -> None:
    with raises(TrainingError, "learning-rate-missing"):
        parameter_groups(nn.Linear(1, 1), Schedule())
