"""An exponential moving average of the weights, evaluated and kept in place of the last step.

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

    `decay` is the share of the old average kept at each step; 0 for the weights themselves, which
    takes no memory.
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        self._weights = dict(trainable_parameters(model))
        self._decay = decay
        self._steps = 0
        self.averaged_weights = {
            name: weight.detach().clone() if decay else weight.detach()
            for name, weight in self._weights.items()
        }

    @torch.no_grad()
    def update(self) -> None:
        """Update the average after an optimizer step."""
        self._steps += 1
        if not self._decay:
            return
        # The first steps count more, or the average would keep the random head for long.
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        current = [weight.detach() for weight in self._weights.values()]
        # One call for all weights: a loop would have an overhead for each of them.
        torch._foreach_lerp_(list(self.averaged_weights.values()), current, 1 - decay)

    @contextmanager
    def use_averaged_weights(self) -> Iterator[None]:
        """Load the averages into the model for the block, and restore its own weights after it."""
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
        """State for `load_state_dict`."""
        return {"averages": self.averaged_weights if self._decay else {}, "steps": self._steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        self._steps = state["steps"]
        if self._decay:
            copy_weights(self.averaged_weights, state["averages"])


def trainable_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Trained parameters by name."""
    return ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)


@torch.no_grad()
def copy_weights(weights: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Overwrite weights in place with the values of the same names and shapes."""
    for name, weight in weights.items():
        weight.copy_(values[name])
