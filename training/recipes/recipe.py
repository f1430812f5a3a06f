"""Recipes: every setting that changes the result of a training."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

from tagalong.backend.models.base_models.base_model import OFFLINE_BASE_MODEL, BaseModelRef
from tagalong.backend.models.text.windows import WindowConfig
from tagalong.training.recipes.schedule import MIN_STEPS, Schedule


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """A low-rank adapter instead of full tuning (Hu et al. 2021, "LoRA").

    Attributes:
        rank: Rank of the update of each linear layer.
        alpha: The update is scaled by alpha / rank.
        dropout: Dropout on the input of each adapted layer. 0 by default: the dropout of the model
            regularizes enough, and a mask for every layer costs a third of the speed on a CPU.
    """

    rank: int = 32
    alpha: int = 64
    dropout: float = 0.0


@dataclass(frozen=True, slots=True)
class EncoderRecipe:
    """Settings of an encoder training.

    Attributes:
        base: The pretrained model.
        adapter: None for full tuning.
        four_bit: Keep the base in NF4 (QLoRA); needs an adapter.
        window_config: Window lengths in serving.
        train_window_config: Window lengths in training. Short windows make more steps of the same
            number of tokens.
        schedule: Duration and learning rate. Dropout begins after a third of the steps: on BC5CDR
            dev this gains most of a point of strict F1 over dropout from the first step on.
        dropout: Dropout of the hidden layers.
        mask_probability: Share of sub-words masked at each step, so that the model learns to use
            the context (word dropout, Dai & Le 2015). Only for bases with a mask token.
        label_smoothing: Label smoothing of the loss.
    """

    base: BaseModelRef = field(default_factory=lambda: BaseModelRef(OFFLINE_BASE_MODEL))
    adapter: AdapterConfig | None = None
    four_bit: bool = False
    window_config: WindowConfig = field(default_factory=WindowConfig)
    train_window_config: WindowConfig = field(
        default_factory=lambda: WindowConfig(window=128, context=16)
    )
    schedule: Schedule = field(default_factory=lambda: Schedule(dropout_start_ratio=1 / 3))
    dropout: float = 0.2
    mask_probability: float = 0.15
    label_smoothing: float = 0.0

    def with_window(self, window: int) -> "EncoderRecipe":
        """Set the window length of serving, and limit that of training to it."""
        train_window = min(window, self.train_window_config.window)
        return replace(
            self,
            window_config=replace(self.window_config, window=window),
            train_window_config=replace(self.train_window_config, window=train_window),
        )


@dataclass(frozen=True, slots=True)
class LLMRecipe:
    """Settings of an LLM training.

    The defaults are those of Obeidat et al. 2025 (arXiv 2504.00664), except the loss, which is
    taken at slots alone, and the tag noise.

    Attributes:
        base: The pretrained decoder.
        adapter: On every linear layer, the output layer included; None for full tuning.
        four_bit: Keep the base in NF4 (QLoRA); needs an adapter.
        window: Tokens of a window, with the instruction and the second copy of the words.
        context: Tokens of neighbouring words on either side of the words that a window labels.
        requested_train_window: Tokens of a window in training; None for `window`. In short windows
            a small decoder learns sooner to copy the word before a slot.
        tag_noise_share: Share of the tags before a slot that are replaced by random ones, so that
            one wrong tag does not lead to more of them.
        gradient_checkpointing: Compute activations twice instead of storing them: a third more
            time for a fraction of the memory.
        schedule: Duration and learning rate.
    """

    base: BaseModelRef
    adapter: AdapterConfig | None = field(default_factory=lambda: AdapterConfig(128, 256, 0.05))
    four_bit: bool = True
    window: int = 2048
    context: int = 256
    requested_train_window: int | None = None
    tag_noise_share: float = 0.1
    gradient_checkpointing: bool = True
    schedule: Schedule = field(
        default_factory=lambda: Schedule(epochs=20, patience=3, ema_decay=0.0, batch_tokens=4096)
    )

    @property
    def train_window(self) -> int:
        """Tokens of a window in training, never more than in serving."""
        return min(self.window, self.requested_train_window or self.window)


Recipe = EncoderRecipe | LLMRecipe

# Manifests, states of stopped trainings and cached folds were written with these keys. They keep
# them, so that old versions load and stopped trainings resume.
RECIPE_KEYS: Mapping[type, Mapping[str, str]] = {
    EncoderRecipe: {
        "window_config": "reading",
        "train_window_config": "lesson",
        "mask_probability": "mask",
        "label_smoothing": "smoothing",
    },
    LLMRecipe: {
        "requested_train_window": "lesson",
        "tag_noise_share": "noise",
        "gradient_checkpointing": "checkpointing",
    },
    Schedule: {
        "dropout_start_ratio": "dropout_from",
        "max_grad_norm": "clip",
        "ema_decay": "average",
        "min_steps": "least_steps",
    },
}
NESTED_TYPES: Mapping[str, type] = {
    "adapter": AdapterConfig,
    "window_config": WindowConfig,
    "train_window_config": WindowConfig,
    "schedule": Schedule,
}


def recipe_to_json(value: Any) -> Any:
    """Convert a recipe, or a part of one, to plain values under the keys of `RECIPE_KEYS`."""
    if not is_dataclass(value) or isinstance(value, type):
        return value
    keys = RECIPE_KEYS.get(type(value), {})
    return {
        keys.get(one.name, one.name): recipe_to_json(getattr(value, one.name))
        for one in fields(value)
    }


def encoder_recipe_from_json(config: Mapping[str, Any], base: BaseModelRef) -> EncoderRecipe:
    """Read an encoder's recipe from the config of its manifest, whatever the defaults are today."""
    return EncoderRecipe(base=base, **_fields_from_json(EncoderRecipe, config))


def llm_recipe_from_json(config: Mapping[str, Any], base: BaseModelRef) -> LLMRecipe:
    """Read an LLM's recipe from the config of its manifest, whatever the defaults are today."""
    # Prompt and verbalizers follow from base and labels.
    own = {name: value for name, value in config.items() if name not in ("prompt", "verbalisers")}
    return LLMRecipe(base=base, **_fields_from_json(LLMRecipe, own))


def _fields_from_json(kind: type, config: Mapping[str, Any]) -> dict[str, Any]:
    names = {key: name for name, key in RECIPE_KEYS.get(kind, {}).items()}
    values: dict[str, Any] = {}
    for key, value in config.items():
        name = names.get(key, key)
        nested = NESTED_TYPES.get(name)
        if nested is not None and isinstance(value, Mapping):
            value = nested(**_fields_from_json(nested, value))  # noqa: PLW2901
        values[name] = value
    return values


def with_min_steps(recipe: EncoderRecipe) -> EncoderRecipe:
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
    narrowness = 384 / recipe.base.load_config().hidden_size
    rate = 3e-4 * narrowness**2 if recipe.adapter is None else 1e-3 * narrowness
    return replace(recipe, schedule=replace(recipe.schedule, learning_rate=rate))


def resolve_llm_recipe(recipe: LLMRecipe) -> LLMRecipe:
    """Fill in the open settings of a recipe.

    The learning rate is the study's 4e-5, found for a width of 4096 and scaled to other widths by
    their ratio; a quarter of it in full tuning.

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
