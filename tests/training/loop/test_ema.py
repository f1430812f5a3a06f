"""The exponential moving average of weights."""

import copy
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tagalong.training.loop.ema import ExponentialMovingAverage, copy_weights, trainable_parameters


def small_model() -> nn.Module:
    """Two layers with the first one frozen."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    for weight in model[0].parameters():
        weight.requires_grad = False
    return model


def values(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def walk(model: nn.Module, *, steps: int, seed: int = 1) -> Iterator[None]:
    """Change all weights in some random steps."""
    chance = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        with torch.no_grad():
            for _, weight in trainable_parameters(model):
                weight.add_(torch.randn(weight.shape, generator=chance))
        yield


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_only_trainable_weights_are_averaged() -> None:
    assert ExponentialMovingAverage(small_model(), decay=0.9).averaged_weights.keys() == {
        "1.weight",
        "1.bias",
    }


def test_averages_inside_the_context_and_weights_after_it() -> None:
    model = small_model()
    average = ExponentialMovingAverage(model, decay=0.9)
    for _ in walk(model, steps=3):
        average.update()
    own, averages = values(model), dict(average.averaged_weights)
    with average.use_averaged_weights():
        inside = values(model)
    assert_same({name: inside[name] for name in averages}, averages)
    assert not torch.equal(inside["1.weight"], own["1.weight"])
    assert_same(values(model), own)


def test_weights_are_restored_after_an_error() -> None:
    model = small_model()
    average = ExponentialMovingAverage(model, decay=0.9)
    for _ in walk(model, steps=2):
        average.update()
    own = values(model)
    with pytest.raises(ZeroDivisionError), average.use_averaged_weights():
        raise ZeroDivisionError
    assert_same(values(model), own)


@given(st.integers(0, 4))
def test_without_decay_the_average_is_the_weights(steps: int) -> None:
    model = small_model()
    average = ExponentialMovingAverage(model, decay=0)
    for _ in walk(model, steps=steps):
        average.update()
        assert_same(
            average.averaged_weights,
            {name: values(model)[name] for name in average.averaged_weights},
        )


@given(st.floats(0.01, 0.999), st.integers(1, 40))
def test_average_is_between_past_weights(decay: float, steps: int) -> None:
    model = small_model()
    seen = [values(model)["1.weight"]]
    average = ExponentialMovingAverage(model, decay=decay)
    for _ in walk(model, steps=steps):
        average.update()
        seen.append(values(model)["1.weight"])
    there = torch.stack(seen)
    assert (average.averaged_weights["1.weight"] >= there.amin(0) - 1e-5).all()
    assert (average.averaged_weights["1.weight"] <= there.amax(0) + 1e-5).all()


def test_average_is_exponential_with_warm_up() -> None:
    model = small_model()
    average = ExponentialMovingAverage(model, decay=0.5)
    expected = values(model)["1.weight"]
    for step, _ in enumerate(walk(model, steps=20), start=1):
        average.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * values(model)["1.weight"]
    assert torch.allclose(average.averaged_weights["1.weight"], expected, atol=1e-5)


@given(st.integers(0, 12), st.integers(1, 12))
def test_resumed_average_equals_uninterrupted_one(before: int, after: int) -> None:
    model = small_model()
    whole = ExponentialMovingAverage(model, decay=0.95)
    for _ in walk(model, steps=before):
        whole.update()
    resumed = ExponentialMovingAverage(model, decay=0.95)  # starts with the current weights now
    resumed.load_state_dict(copy.deepcopy(whole.state_dict()))
    for _ in walk(model, steps=after, seed=2):
        whole.update()
        resumed.update()
    assert_same(resumed.averaged_weights, whole.averaged_weights)


def test_restored_state_is_a_copy() -> None:
    model = small_model()
    kept = values(model)
    copy_weights(dict(trainable_parameters(model)), kept)
    for _ in walk(model, steps=1):
        pass
    assert_same(kept, values(small_model()))
