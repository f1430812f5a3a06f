"""What training does to a model before its first step, where a base is adapted or in 4 bits."""

from peft import prepare_model_for_kbit_training
from torch import nn
from transformers import PreTrainedModel

from tagalong.backend.models.base_models.quantization import disable_cpu_repacking


def prepare_four_bit_model(
    model: PreTrainedModel, *, checkpointing: bool = True
) -> PreTrainedModel:
    """Ready a base in 4 bits for training an adapter on it.

    Args:
        model: In 4 bits.
        checkpointing: Compute activations again on the way back instead of keeping them.

    Returns:
        The model.
    """
    model = prepare_model_for_kbit_training(
        model,
        use_gradient_checkpointing=checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
    )
    disable_cpu_repacking(model)  # a training serves after each epoch, to be judged
    return model


def linear_layer_names(model: PreTrainedModel) -> list[str]:
    """What an adapter goes on: every linear layer, the output layer with them.

    peft's own "all-linear" leaves that one out.

    Args:
        model: A decoder, in 4 bits or not.

    Returns:
        The last parts of their names.
    """
    linear = (name for name, module in model.named_modules() if isinstance(module, nn.Linear))
    return sorted({name.rpartition(".")[2] for name in linear})
