"""Adapters on a base, by peft; it is imported when the first one is met.

It takes longer to import than everything else that serves together (with bitsandbytes and PyTorch's
compiler behind it), and whoever serves an engine, or a whole model, has no use for it.
"""

import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeGuard

from torch import nn
from transformers import PreTrainedModel

if TYPE_CHECKING:
    from peft import PeftModel


@cache
def _import_peft() -> ModuleType:
    """The library."""
    return import_module("peft")


def is_peft_model(model: object) -> "TypeGuard[PeftModel]":
    """Whether a model is an adapter on its base."""
    # Nobody has made one before the library was there.
    return "peft" in sys.modules and isinstance(model, _import_peft().PeftModel)


def is_lora_layer(layer: nn.Module) -> bool:
    """Whether a layer is one of a base with something of an adapter beside it."""
    return "peft" in sys.modules and isinstance(layer, _import_peft().tuners.lora.LoraLayer)


def load_adapter(model: PreTrainedModel, folder: Path, **options: Any) -> "PeftModel":
    """Put an adapter on its base.

    Args:
        model: The base; changed in place.
        folder: Of the adapter.
        **options: Of `PeftModel.from_pretrained`.

    Returns:
        Both.
    """
    adapted: PeftModel = _import_peft().PeftModel.from_pretrained(model, folder, **options)
    return adapted
