"""An exponential moving average of the weights: what is judged and kept, instead of the last step.

Averaged weights lie in flatter regions and generalise better (Izmailov et al. 2018; Morales-Brotons
et al. 2024, "Exponential Moving Average of Weights in Deep Learning").
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class ExponentialMovingAverage:
    """The moving average of a model's trainable weights.

    Args:
        model: Being trained; only parameters that require gradients are followed.
        decay: Share of the old average kept at each step; 0 follows the weights themselves, and
            takes no memory.
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        self._weights = dict(trainable_parameters(model))
        self._decay = decay
        self._steps = 0
        own = {name: weight.detach() for name, weight in self._weights.items()}
        self.averaged_weights = (
            {name: weight.clone() for name, weight in own.items()} if decay else own
        )

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after an optimizer step."""
        self._steps += 1
        if not self._decay:
            return
        # Early on the average forgets faster, or it would remember the random head for long.
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        current = [weight.detach() for weight in self._weights.values()]
        torch._foreach_lerp_(list(self.averaged_weights.values()), current, 1 - decay)

    @contextmanager
    def use_averaged_weights(self) -> Iterator[None]:
        """The model holds the averages inside the block, and its own weights again after it."""
        if not self._decay:
            yield
            return
        own = {name: weight.detach().clone() for name, weight in self._weights.items()}
        copy_weights(self._weights, self.averaged_weights)
        try:
            yield
        finally:
            copy_weights(self._weights, own)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on."""
        return {"averages": self.averaged_weights if self._decay else {}, "steps": self._steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self._steps = state["steps"]
        if self._decay:
            copy_weights(self.averaged_weights, state["averages"])


def trainable_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters that are trained, by name."""
    return ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)


@torch.no_grad()
def copy_weights(weights: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Write values into weights, in place.

    Args:
        weights: What to overwrite.
        values: One tensor of the same shape for every name in `weights`.
    """
    for name, weight in weights.items():
        weight.copy_(values[name])
