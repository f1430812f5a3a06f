"""The recipe of a training: everything that decides what it makes of its documents."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tagalong.backend.models.base_models.base_model import OFFLINE_BASE_MODEL, BaseModelRef
from tagalong.backend.models.text.window_encoder import WindowConfig
from tagalong.training.recipes.schedule import Schedule


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """A low-rank adapter instead of full tuning (Hu et al. 2021, "LoRA").

    Attributes:
        rank: Of the update of each linear layer.
        alpha: Its scale is alpha / rank.
        dropout: On the input of each. None by default: the model's own dropout regularises enough,
            and a mask for every layer costs a third of the speed on a CPU.
    """

    rank: int = 32
    alpha: int = 64
    dropout: float = 0.0


@dataclass(frozen=True, slots=True)
class EncoderRecipe:
    """Everything that decides what a training makes of its documents.

    Attributes:
        base: The model it starts from.
        adapter: None for full tuning.
        four_bit: Keep the base in NF4 (QLoRA); needs an adapter.
        reading: How long windows are when the version serves.
        lesson: How long they are while it learns. Short ones make more steps of as many tokens.
        schedule: How long and how fast. Dropout begins after a third of the steps: on BC5CDR dev
            that is worth most of a point of strict F1 over dropout from the first step on.
        dropout: Of the hidden layers.
        mask: Share of sub-words hidden from the model at each step, so that it learns to use what
            stands around them (word dropout, Dai & Le 2015). Only for bases with a mask token.
        smoothing: Label smoothing.
    """

    base: BaseModelRef = field(default_factory=lambda: BaseModelRef(OFFLINE_BASE_MODEL))
    adapter: AdapterConfig | None = None
    four_bit: bool = False
    reading: WindowConfig = field(default_factory=WindowConfig)
    lesson: WindowConfig = field(default_factory=lambda: WindowConfig(window=128, context=16))
    schedule: Schedule = field(default_factory=lambda: Schedule(dropout_from=1 / 3))
    dropout: float = 0.2
    mask: float = 0.15
    smoothing: float = 0.0


@dataclass(frozen=True, slots=True)
class LLMRecipe:
    """Everything that decides what a training makes of a decoder.

    The defaults are those of Obeidat et al. 2025 (arXiv 2504.00664) but for the loss, which is
    taken at slots alone, and for the noise.

    Attributes:
        base: The decoder it starts from.
        adapter: On every linear layer, the output layer included; None for full tuning.
        four_bit: Keep the base in NF4 (QLoRA); needs an adapter.
        window: Tokens of a window, instruction and second copy of the words included.
        context: Tokens of neighbouring words on either side of what a window owns.
        lesson: Tokens of a window while it learns; None for `window`. Short ones show a small
            decoder sooner that the word before a slot was read before.
        noise: Share of the tags fed back that are replaced by any, so that a mistake of its own
            does not lead the model astray.
        checkpointing: Compute activations again on the way back instead of keeping them: a third
            more time for a fraction of the memory.
        schedule: How long and how fast.
    """

    base: BaseModelRef
    adapter: AdapterConfig | None = field(default_factory=lambda: AdapterConfig(128, 256, 0.05))
    four_bit: bool = True
    window: int = 2048
    context: int = 256
    lesson: int | None = None
    noise: float = 0.1
    checkpointing: bool = True
    schedule: Schedule = field(
        default_factory=lambda: Schedule(epochs=20, patience=3, average=0.0, batch_tokens=4096)
    )

    @property
    def train_window(self) -> int:
        """Tokens of a window while it learns."""
        return min(self.window, self.lesson or self.window)


def resolve_llm_recipe(recipe: LLMRecipe) -> LLMRecipe:
    """Fill in what a recipe leaves open.

    The learning rate is the study's 4e-5, found for a width of 4096, brought to other widths by
    their ratio; a quarter of it in full.

    Args:
        recipe: Any recipe.

    Returns:
        The same with the base that would be loaded now, no more tokens in a window than that has
        positions, and a learning rate.

    Raises:
        BaseModelError: If the base is not there.
    """
    config = recipe.base.load_config()
    limit = getattr(config, "max_position_embeddings", None) or recipe.window
    schedule = recipe.schedule
    if schedule.learning_rate is None:
        rate = (1e-5 if recipe.adapter is None else 4e-5) * 4096 / config.hidden_size
        schedule = replace(schedule, learning_rate=rate)
    # What is published names the very base that was loaded, even if a hub's branch moves meanwhile.
    return replace(
        recipe,
        base=recipe.base.with_pinned_revision(),
        window=min(recipe.window, limit),
        schedule=schedule,
    )


def encoder_recipe_from_json(config: Mapping[str, Any], base: BaseModelRef) -> EncoderRecipe:
    """Read an encoder's recipe back from where a manifest keeps it.

    Args:
        config: The manifest's.
        base: The manifest's.

    Returns:
        The recipe that made the version, whatever the defaults are today.
    """
    return EncoderRecipe(base=base, **_recipe_fields_from_json(config))


def llm_recipe_from_json(config: Mapping[str, Any], base: BaseModelRef) -> LLMRecipe:
    """Read an LLM's recipe back from where a manifest keeps it.

    Args:
        config: The manifest's.
        base: The manifest's.

    Returns:
        The recipe that made the version; prompt and verbalisers follow from base and labels.
    """
    own = {name: value for name, value in config.items() if name not in ("prompt", "verbalisers")}
    return LLMRecipe(base=base, **_recipe_fields_from_json(own))


def _recipe_fields_from_json(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a recipe, those that are objects made so."""
    parts = {
        "adapter": AdapterConfig,
        "reading": WindowConfig,
        "lesson": WindowConfig,
        "schedule": Schedule,
    }
    return {
        name: parts[name](**value) if name in parts and isinstance(value, Mapping) else value
        for name, value in config.items()
    }


def resolve_learning_rate(recipe: EncoderRecipe) -> EncoderRecipe:
    """Choose the learning rate where the schedule leaves it open.

    Measured on MiniLM (width 384) and brought to other widths by the customary rates of wider
    models: 8e-5 for a width of 768 and 4e-5 for 1024 in full, 4e-4 for their adapters.

    Args:
        recipe: Any recipe.

    Returns:
        The same with a learning rate.

    Raises:
        BaseModelError: If the base is not there.
    """
    if recipe.schedule.learning_rate is not None:
        return recipe
    narrowness = 384 / recipe.base.load_config().hidden_size
    rate = 3e-4 * narrowness**2 if recipe.adapter is None else 1e-3 * narrowness
    return replace(recipe, schedule=replace(recipe.schedule, learning_rate=rate))
