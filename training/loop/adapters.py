"""Adapters on a base model, which may be in 4 bits; peft is imported for the first one only."""

from typing import TYPE_CHECKING, Any

from torch import nn
from transformers import PreTrainedModel

from tagalong.backend.models.base_models.four_bit import disable_cpu_repacking
from tagalong.training.recipes.recipe import AdapterConfig

if TYPE_CHECKING:
    from peft import PeftModel


def prepare_four_bit_model(
    model: PreTrainedModel, *, gradient_checkpointing: bool = True
) -> PreTrainedModel:
    """Prepare a 4-bit base; gradient checkpointing computes activations twice to save memory."""
    from peft import prepare_model_for_kbit_training

    model = prepare_model_for_kbit_training(
        model,
        use_gradient_checkpointing=gradient_checkpointing,
        # The reentrant variant needs an input with a gradient, and embeddings are frozen.
        gradient_checkpointing_kwargs={"use_reentrant": False},
    )
    # Evaluation after each epoch would repack the weights, and training could not go on with them.
    disable_cpu_repacking(model)
    return model


def add_adapter(model: PreTrainedModel, config: AdapterConfig, **settings: Any) -> "PeftModel":
    """Put a new adapter on a model; `settings` are further ones of `peft.LoraConfig`."""
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(
        r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout, **settings
    )
    return get_peft_model(model, lora)


def linear_layer_names(model: PreTrainedModel) -> list[str]:
    """Name ends of all linear layers, with the output layer that peft's "all-linear" omits."""
    linear = (name for name, module in model.named_modules() if isinstance(module, nn.Linear))
    return sorted({name.rpartition(".")[2] for name in linear})
