"""The optimizer of each device."""

from collections.abc import Callable

import torch

from tagalong.training.loop.trainer import ParameterGroups, build_fused_adamw

try:
    from bitsandbytes.optim import PagedAdamW8bit
except ImportError:  # an extra
    PagedAdamW8bit = None


def choose_optimizer(device: torch.device) -> Callable[[ParameterGroups], torch.optim.Optimizer]:
    """Choose paged 8-bit AdamW on a GPU with bitsandbytes, else AdamW.

    The state of paged AdamW takes 8 bits a number, and moves to the memory of the machine when that
    of the GPU is short (Dettmers et al. 2022 and 2023).
    """
    if device.type == "cuda" and PagedAdamW8bit is not None:
        return PagedAdamW8bit
    return build_fused_adamw
