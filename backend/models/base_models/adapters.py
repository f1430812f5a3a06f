"""Load adapters with peft, which is imported for the first one only.

peft takes longer to import than everything else together, because of bitsandbytes and PyTorch's
compiler. A server of whole models, or of OpenVINO's, does not need it.
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

ADAPTER_CONFIG_NAME = "adapter_config.json"


@cache
def _import_peft() -> ModuleType:
    return import_module("peft")


def is_peft_model(model: object) -> "TypeGuard[PeftModel]":
    """Whether a model is an adapter on its base model."""
    # If peft is not imported, no adapter can exist.
    return "peft" in sys.modules and isinstance(model, _import_peft().PeftModel)


def is_lora_layer(layer: nn.Module) -> bool:
    """Whether a layer has an adapter beside it."""
    return "peft" in sys.modules and isinstance(layer, _import_peft().tuners.lora.LoraLayer)


def load_adapter(model: PreTrainedModel, folder: Path, **options: Any) -> "PeftModel":
    """Put an adapter on its base model, which is changed in place; `options` are peft's."""
    adapted: PeftModel = _import_peft().PeftModel.from_pretrained(model, folder, **options)
    return adapted


def is_adapter(folder: Path) -> bool:
    """Whether a version is an adapter, whose base model is elsewhere."""
    return (folder / ADAPTER_CONFIG_NAME).is_file()
