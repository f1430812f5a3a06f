"""The recipe of an encoder."""

from dataclasses import dataclass, field, replace

from tagalong.backend.models.base_models.base_model import OFFLINE_BASE_MODEL, BaseModelRef
from tagalong.backend.models.text.windows import WindowConfig
from tagalong.training.recipes.recipe import AdapterConfig
from tagalong.training.recipes.schedule import MIN_STEPS, Schedule


@dataclass(frozen=True, slots=True)
class EncoderRecipe:
    """Settings of an encoder training."""

    base: BaseModelRef = field(default_factory=lambda: BaseModelRef(OFFLINE_BASE_MODEL))
    adapter: AdapterConfig | None = None  # None for full tuning
    four_bit: bool = False  # keep the base in NF4 (QLoRA), which needs an adapter
    window_config: WindowConfig = field(default_factory=WindowConfig, metadata={"key": "reading"})
    # Short windows make more steps of the same number of tokens.
    train_window_config: WindowConfig = field(
        default_factory=lambda: WindowConfig(window=128, context=16), metadata={"key": "lesson"}
    )
    # Dropout begins after a third of the steps. On BC5CDR dev this gains most of a point of strict
    # F1 over dropout from the first step on.
    schedule: Schedule = field(default_factory=lambda: Schedule(dropout_start_ratio=1 / 3))
    dropout: float = 0.2  # of the hidden layers
    # Share of sub-words masked at each step, so that the model learns to use the context (word
    # dropout, Dai & Le 2015). Only for bases with a mask token.
    mask_probability: float = field(default=0.15, metadata={"key": "mask"})
    label_smoothing: float = field(default=0.0, metadata={"key": "smoothing"})

    def with_window(self, window: int) -> "EncoderRecipe":
        """Set the window length of serving, and limit that of training to it."""
        train_window = min(window, self.train_window_config.window)
        return replace(
            self,
            window_config=replace(self.window_config, window=window),
            train_window_config=replace(self.train_window_config, window=train_window),
        )


def raise_min_steps(recipe: EncoderRecipe) -> EncoderRecipe:
    """Give a recipe at least the steps that a base needs on few documents."""
    min_steps = max(recipe.schedule.min_steps, MIN_STEPS)
    return replace(recipe, schedule=replace(recipe.schedule, min_steps=min_steps))


def resolve_encoder_recipe(recipe: EncoderRecipe) -> EncoderRecipe:
    """Pin the base revision, and choose the learning rate where the schedule leaves it open.

    Measured on MiniLM (width 384) and scaled to other widths so that it meets the usual rates:
    8e-5 for a width of 768 and 4e-5 for 1024 in full tuning, 4e-4 for their adapters.

    Raises `BaseModelError` if the base is not available.
    """
    # A hub's branch may move during the training; the manifest names the revision that was loaded.
    recipe = replace(recipe, base=recipe.base.with_pinned_revision())
    if recipe.schedule.learning_rate is not None:
        return recipe
    width_ratio = 384 / recipe.base.load_config().hidden_size
    rate = 3e-4 * width_ratio**2 if recipe.adapter is None else 1e-3 * width_ratio
    return replace(recipe, schedule=replace(recipe.schedule, learning_rate=rate))
