"""The recipe of a training: everything that decides what it makes of its documents."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from backend.bases import OFFLINE_BASE, Base
from backend.encoder import Reading
from training.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Adapter:
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
class Recipe:
    """Everything that decides what a training makes of its documents.

    Attributes:
        base: The model it starts from.
        adapter: None for full tuning.
        four_bit: Keep the base in NF4 (QLoRA); needs an adapter.
        reading: How long windows are when the version serves.
        lesson: How long they are while it learns. Short ones keep it from learning documents by
            heart: on BC5CDR dev, 128 sub-words are worth a point of strict F1 over 320.
        schedule: How long and how fast.
        dropout: Of the hidden layers.
        mask: Share of sub-words hidden from the model at each step, so that it learns to use what
            stands around them (word dropout, Dai & Le 2015). Only for bases with a mask token.
        smoothing: Label smoothing.
    """

    base: Base = field(default_factory=lambda: Base(OFFLINE_BASE))
    adapter: Adapter | None = None
    four_bit: bool = False
    reading: Reading = field(default_factory=Reading)
    lesson: Reading = field(default_factory=lambda: Reading(window=128, context=16))
    schedule: Schedule = field(default_factory=Schedule)
    dropout: float = 0.2
    mask: float = 0.15
    smoothing: float = 0.0


def recipe_from_json(config: Mapping[str, Any], base: Base) -> Recipe:
    """Read a recipe back from where a manifest keeps it.

    Args:
        config: The manifest's.
        base: The manifest's.

    Returns:
        The recipe that made the version, whatever the defaults are today.
    """
    parts = {"adapter": Adapter, "reading": Reading, "lesson": Reading, "schedule": Schedule}
    values = {
        name: parts[name](**value) if name in parts and value is not None else value
        for name, value in config.items()
    }
    return Recipe(base=base, **values)


def with_learning_rate(recipe: Recipe) -> Recipe:
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
