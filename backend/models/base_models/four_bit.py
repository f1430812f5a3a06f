"""Weights in 4 bits (NF4): the options for loading them, and whether this machine supports them."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import nn
from transformers import BitsAndBytesConfig


@cache
def four_bit_unavailable_reason() -> str | None:
    """Try NF4 on this machine: None where it works, else the reason."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        functional = import_module("bitsandbytes.functional")
        functional.quantize_4bit(torch.zeros(64, device=device), quant_type="nf4")
    except (ImportError, RuntimeError) as error:
        return str(error).strip().partition("\n")[0]
    return None


def four_bit_options(skip_modules: Sequence[str]) -> Mapping[str, Any]:
    """Options of `from_pretrained` for QLoRA (Dettmers et al. 2023): NF4, quantized twice."""
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=list(skip_modules),  # despite its name, for 4 bits too
    )
    return {"quantization_config": quantization, "dtype": torch.bfloat16}


def disable_cpu_repacking(model: nn.Module) -> None:
    """Keep bitsandbytes from repacking the layers of a 4-bit model on some CPUs.

    A repacked layer gives no gradients, and its blocks of 64 must divide it. Besides, state_dict()
    unpacks it for every model that shares the weights.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


def upcast_unquantized(model: nn.Module) -> None:
    """Keep the norms and embeddings of a 4-bit model in fp32, in training and serving alike."""
    for weight in model.parameters():
        if weight.dtype in (torch.bfloat16, torch.float16):
            weight.data = weight.data.float()
