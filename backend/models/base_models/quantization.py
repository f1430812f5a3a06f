"""Weights in 4 bits: how they are asked for, and whether this machine can have them."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import nn
from transformers import BitsAndBytesConfig


@cache
def four_bit_unavailable_reason() -> str | None:
    """Try whether weights can be kept in NF4 on this machine.

    Returns:
        None if they can, else why not.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        functional = import_module("bitsandbytes.functional")
        functional.quantize_4bit(torch.zeros(64, device=device), quant_type="nf4")
    except (ImportError, RuntimeError) as error:
        return str(error).strip().partition("\n")[0]
    return None


def four_bit_options(skip_modules: Sequence[str]) -> Mapping[str, Any]:
    """How QLoRA loads its base (Dettmers et al. 2023): NF4 quantised twice, arithmetic in bf16.

    Args:
        skip_modules: Layers that are not quantised.

    Returns:
        Options of `from_pretrained`.
    """
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=list(skip_modules),  # despite its name, for 4 bits too
    )
    return {"quantization_config": quantization, "dtype": torch.bfloat16}


def disable_cpu_repacking(model: nn.Module) -> None:
    """Keep bitsandbytes from repacking layers when they first serve on some CPUs.

    A repacked layer gives no gradients from then on, is unpacked again under the feet of whoever
    shares its weights once its state is asked for, and cannot be had where blocks of 64 do not
    divide it.

    Args:
        model: In 4 bits.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


def upcast_unquantized(model: nn.Module) -> None:
    """Keep what is not quantised in fp32, as training does: what serves is then what was judged.

    Args:
        model: In 4 bits; norms, embeddings and what else has 16 bits is changed in place.
    """
    for weight in model.parameters():
        if weight.dtype in (torch.bfloat16, torch.float16):
            weight.data = weight.data.float()
