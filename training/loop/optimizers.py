"""The optimizer of each device, and the learning rate of each parameter."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from tagalong.ner.errors import TrainingError
from tagalong.training.loop.ema import trainable_parameters
from tagalong.training.recipes.schedule import Schedule

ParameterGroups = list[dict[str, Any]]  # as optimizers take them
OptimizerBuilder = Callable[[ParameterGroups], torch.optim.Optimizer]


def build_fused_adamw(groups: ParameterGroups) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019), one kernel for all weights."""
    return torch.optim.AdamW(groups, fused=True)


def choose_optimizer(device: torch.device) -> OptimizerBuilder:
    """Choose paged 8-bit AdamW on a GPU with bitsandbytes, else AdamW.

    The state of paged AdamW takes 8 bits a number. It moves to the memory of the machine when that
    of the GPU is short (Dettmers et al. 2022 and 2023).
    """
    if device.type == "cuda":
        try:
            from bitsandbytes.optim import PagedAdamW8bit
        except ImportError:  # an extra
            return build_fused_adamw
        return PagedAdamW8bit
    return build_fused_adamw


def parameter_groups(model: nn.Module, schedule: Schedule) -> ParameterGroups:
    """Group trainable parameters by learning rate and weight decay.

    Layers are recognized by the number after ``layer.`` or ``layers.`` in parameter names.

    Raises `TrainingError` if the schedule has no learning rate.
    """
    peak = schedule.learning_rate
    if peak is None:
        raise TrainingError(
            "the schedule has no learning rate: set one, or resolve the recipe before training",
            code="learning-rate-missing",
        )
    weights = dict(trainable_parameters(model))
    depths = {name: _layer_depth(name) for name in weights}
    top = max((depth for depth in depths.values() if depth is not None), default=0)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, depth in depths.items():
        # The head is new and learns at the full rate; the embeddings are the deepest layer.
        rate = peak * schedule.layer_decay ** (0 if depth is None else top - depth)
        decay = schedule.weight_decay if weights[name].ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(weights[name])
    return [
        {"params": group, "lr": rate, "weight_decay": decay}
        for (rate, decay), group in groups.items()
    ]


def _layer_depth(name: str) -> int | None:
    """Distance of a parameter from the input: embeddings 0, first layer 1; None for the head."""
    parts = name.split(".")
    if any("embed" in part for part in parts):
        return 0
    for part, following in pairwise(parts):
        if part in ("layer", "layers") and following.isdigit():
            return 1 + int(following)
    return None
