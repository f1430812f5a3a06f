"""Recipes: every setting that changes the result of a training."""

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, fields, is_dataclass
from typing import Any, Protocol, TypeVar, get_args, get_type_hints

from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.training.recipes.schedule import Schedule

RecipeT = TypeVar("RecipeT")


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """A low-rank adapter instead of full tuning (Hu et al. 2021, "LoRA")."""

    rank: int = 32  # of the update of each linear layer
    alpha: int = 64  # the update is scaled by alpha / rank
    # On the input of each adapted layer. 0 by default: the dropout of the model regularizes enough,
    # and a mask for every layer costs a third of the speed on a CPU.
    dropout: float = 0.0


class Recipe(Protocol):
    """Common fields of the recipes of all tiers: dataclasses, each in a file of its own."""

    @property
    def base(self) -> BaseModelRef:
        """The pretrained model."""

    @property
    def adapter(self) -> AdapterConfig | None:
        """None for full tuning."""

    @property
    def four_bit(self) -> bool:
        """Whether the base is kept in NF4 (QLoRA), which needs an adapter."""

    @property
    def schedule(self) -> Schedule:
        """Duration and learning rate."""


# Manifests, states of stopped trainings and cached folds were written with other names of some
# fields. `field(metadata={"key": ...})` keeps them: old versions load, stopped trainings resume.
def _json_key(field: Field[Any]) -> str:
    key: str = field.metadata.get("key", field.name)
    return key


def recipe_to_json(value: Any) -> Any:
    """Convert a recipe, or a part of one, to plain values."""
    if not is_dataclass(value) or isinstance(value, type):
        return value
    return {_json_key(one): recipe_to_json(getattr(value, one.name)) for one in fields(value)}


def recipe_from_json(
    kind: Callable[..., RecipeT], config: Mapping[str, Any], base: BaseModelRef
) -> RecipeT:
    """Read a recipe from its plain values, whatever the defaults are today."""
    return kind(base=base, **_fields_from_json(kind, config))


def _fields_from_json(kind: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    names = {_json_key(one): one.name for one in fields(kind)}
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, value in config.items():
        name = names.get(key, key)
        hint = hints.get(name)
        nested = next(filter(is_dataclass, (hint, *get_args(hint))), None)
        if isinstance(nested, type) and isinstance(value, Mapping):
            value = nested(**_fields_from_json(nested, value))  # noqa: PLW2901
        values[name] = value
    return values
