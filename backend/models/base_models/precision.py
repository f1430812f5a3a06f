"""The fast arithmetic of a machine."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch

from tagalong.backend.models.base_models.load_options import Precision

# Names as torch.cpu gives them.
BF16_CAPABILITIES = ("avx512_bf16", "amx_bf16", "sve_bf16")
# The best first. With AVX-512 alone, 8-bit products saturate, but still take six tenths of the time
# of fp32. With AVX2 alone they take a third longer than fp32, so it is left out.
INT8_CAPABILITIES = ("amx_int8", "avx512_vnni", "avx_vnni", "avx512_bw")


def has_bf16(device: torch.device) -> bool:
    """Whether bf16 is native: on GPUs from Ampere on, CPUs with AVX-512 BF16, AMX or SVE BF16."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = _cpu_capabilities() if device.type == "cpu" else {}
    return any(capabilities.get(name, False) for name in BF16_CAPABILITIES)


def int8_instruction_set() -> str:
    """The instructions of this CPU for 8-bit products; empty where none is faster than fp32."""
    capabilities = _cpu_capabilities()
    return next((name for name in INT8_CAPABILITIES if capabilities.get(name, False)), "")


def _cpu_capabilities() -> Mapping[str, Any]:
    """Empty for older releases of PyTorch: fp32 works everywhere."""
    get_capabilities = getattr(torch.cpu, "get_capabilities", None)
    return get_capabilities() if get_capabilities else {}


def bf16_autocast(
    device: torch.device, *, precision: Precision = "auto"
) -> AbstractContextManager[object]:
    """Run the matrix products inside in bf16; with ``auto``, where that is native."""
    enabled = weights_dtype(device, precision=precision) == torch.bfloat16
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def weights_dtype(device: torch.device, *, precision: Precision = "auto") -> torch.dtype:
    """The type of weights for serving: no finer than the arithmetic, so bf16 or fp32."""
    use_bf16 = has_bf16(device) if precision == "auto" else precision == "bf16"
    return torch.bfloat16 if use_bf16 else torch.float32
