"""Which optimizer a device gets."""

from collections.abc import Callable

import torch

from tagalong.training.loop.trainer import ParameterGroups, build_fused_adamw

try:
    from bitsandbytes.optim import PagedAdamW8bit
except ImportError:  # an extra
    PagedAdamW8bit = None


def choose_optimizer(device: torch.device) -> Callable[[ParameterGroups], torch.optim.Optimizer]:
    """Choose.

    Args:
        device: Where training runs.

    Returns:
        AdamW whose state takes 8 bits a number and moves to the machine's memory where a GPU's is
        short (Dettmers et al. 2022 and 2023), if there is a GPU and bitsandbytes; else AdamW.
    """
    if device.type == "cuda" and PagedAdamW8bit is not None:
        return PagedAdamW8bit
    return build_fused_adamw
