"""Which arithmetic a machine is good at."""

from contextlib import AbstractContextManager
from typing import Literal

import torch

Precision = Literal["auto", "bf16", "fp32"]


def has_bf16(device: torch.device) -> bool:
    """Whether bf16 arithmetic is native to a device, hence faster than fp32 and worth its rounding.

    Args:
        device: A CPU or a GPU.

    Returns:
        True for GPUs from Ampere on and for CPUs with AVX-512 BF16 or AMX.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def half_precision(
    device: torch.device, *, wanted: Precision = "auto"
) -> AbstractContextManager[object]:
    """Run the matrix products inside in bf16.

    Args:
        device: Where the model is.
        wanted: ``auto`` is bf16 where it is native.

    Returns:
        The autocast context.
    """
    enabled = has_bf16(device) if wanted == "auto" else wanted == "bf16"
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)
