"""The recipe of an LLM."""

from dataclasses import dataclass, field, replace

from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.training.recipes.recipe import AdapterConfig
from tagalong.training.recipes.schedule import Schedule


@dataclass(frozen=True, slots=True)
class LLMRecipe:
    """Settings of an LLM training.

    The defaults are those of Obeidat et al. 2025 (arXiv 2504.00664), except the loss, which is
    taken at slots alone, and the tag noise.
    """

    base: BaseModelRef
    # On every linear layer, the output layer included; None for full tuning.
    adapter: AdapterConfig | None = field(default_factory=lambda: AdapterConfig(128, 256, 0.05))
    four_bit: bool = True  # keep the base in NF4 (QLoRA), which needs an adapter
    window: int = 2048  # tokens, with the instruction and the second copy of the words
    context: int = 256  # tokens on either side of the words that a window labels
    # None for `window`. In short windows a small decoder learns sooner to copy the word before a
    # slot.
    requested_train_window: int | None = field(default=None, metadata={"key": "lesson"})
    # Share of the tags before a slot that are replaced by random ones, so that one wrong tag does
    # not lead to more of them.
    tag_noise_share: float = field(default=0.1, metadata={"key": "noise"})
    # Compute activations twice instead of storing them: a third more time for a fraction of the
    # memory.
    gradient_checkpointing: bool = field(default=True, metadata={"key": "checkpointing"})
    schedule: Schedule = field(
        default_factory=lambda: Schedule(epochs=20, patience=3, ema_decay=0.0, batch_tokens=4096)
    )

    @property
    def train_window(self) -> int:
        """Tokens of a window in training, never more than in serving."""
        return min(self.window, self.requested_train_window or self.window)


def resolve_llm_recipe(recipe: LLMRecipe) -> LLMRecipe:
    """Fill in the open settings of a recipe.

    The learning rate is the study's 4e-5, found for a width of 4096 and scaled to other widths by
    their ratio. Full tuning has a quarter of that rate.

    Returns the recipe with a pinned base revision, a window no longer than the positions of the
    base, and a learning rate. Raises `BaseModelError` if the base is not available.
    """
    config = recipe.base.load_config()
    limit = getattr(config, "max_position_embeddings", None) or recipe.window
    schedule = recipe.schedule
    if schedule.learning_rate is None:
        rate = (1e-5 if recipe.adapter is None else 4e-5) * 4096 / config.hidden_size
        schedule = replace(schedule, learning_rate=rate)
    return replace(
        recipe,
        base=recipe.base.with_pinned_revision(),
        window=min(recipe.window, limit),
        schedule=schedule,
    )
