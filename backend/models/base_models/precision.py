"""Which arithmetic a machine is good at."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch

from tagalong.backend.models.base_models.load_options import Precision

# Names as torch.cpu gives them.
BF16_CAPABILITIES = ("avx512_bf16", "amx_bf16", "sve_bf16")
# The best first. With AVX-512 alone, products of 8 bits saturate, and still take six tenths of the
# time of fp32; with AVX2 alone they take a third more, so that is not among them.
INT8_CAPABILITIES = ("amx_int8", "avx512_vnni", "avx_vnni", "avx512_bw")


def has_bf16(device: torch.device) -> bool:
    """Whether bf16 arithmetic is native to a device, hence faster than fp32 and worth its rounding.

    Args:
        device: A CPU or a GPU.

    Returns:
        True for GPUs from Ampere on and for CPUs with AVX-512 BF16, AMX or SVE BF16.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    known = _cpu_capabilities() if device.type == "cpu" else {}
    return any(known.get(name, False) for name in BF16_CAPABILITIES)


def int8_instruction_set() -> str:
    """What this CPU multiplies numbers of 8 bits with. Not all of it comes to the same results.

    Returns:
        A name, such as ``avx512_vnni``; empty where it has nothing that is faster than fp32.
    """
    known = _cpu_capabilities()
    return next((name for name in INT8_CAPABILITIES if known.get(name, False)), "")


def _cpu_capabilities() -> Mapping[str, Any]:
    """What this CPU has; nothing for older releases of PyTorch, as fp32 is right everywhere."""
    ask = getattr(torch.cpu, "get_capabilities", None)
    return ask() if ask else {}


def bf16_autocast(
    device: torch.device, *, precision: Precision = "auto"
) -> AbstractContextManager[object]:
    """Run the matrix products inside in bf16.

    Args:
        device: Where the model is.
        precision: ``auto`` is bf16 where it is native.

    Returns:
        The autocast context.
    """
    enabled = weights_dtype(device, precision=precision) == torch.bfloat16
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def weights_dtype(device: torch.device, *, precision: Precision = "auto") -> torch.dtype:
    """The type to keep weights in that only serve: no finer than the arithmetic done with them.

    Args:
        device: Where the model is.
        precision: ``auto`` is bf16 where it is native.

    Returns:
        bf16 or fp32.
    """
    half = has_bf16(device) if precision == "auto" else precision == "bf16"
    return torch.bfloat16 if half else torch.float32
