"""How each tier is trained, given a recipe."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cli.options import LLM, default_drafter
from cli.training import Trade, manifest_like
from ner.document import Document
from ner.errors import InputError
from ner.store import Store

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from training.llm import TrainedLLM
    from training.recipe import LLMRecipe, Recipe


def encoder_trade(recipe: "Recipe") -> Trade:
    """How an encoder is trained.

    Args:
        recipe: What to do.

    Returns:
        All of it.
    """
    from training.encoder import train_encoder
    from training.publish import publish_encoder

    return Trade("encoder", recipe, train_encoder, publish_encoder)


def llm_trade(recipe: "LLMRecipe", store: Store) -> Trade:
    """How an LLM is trained; the encoder that will draft in serving drafts dev, too.

    Args:
        recipe: What to do.
        store: Where that encoder is.

    Returns:
        All of it.
    """
    from training.llm import train_llm
    from training.publish import publish_llm

    def train_drafted(
        *sides: Sequence[Document], labels: Sequence[str], **how: Any
    ) -> "TrainedLLM":
        return train_llm(*sides, labels=labels, drafter=default_drafter(store, labels), **how)

    return Trade(LLM, recipe, train_drafted, publish_llm)


def trade_like(store: Store, tier: str, reference: str | None) -> Trade:
    """How a tier is trained by the recipe of a version, on however few documents.

    Args:
        store: Where it is.
        tier: To be trained.
        reference: To the version; None for the one that serves, else the recipe's own defaults.

    Returns:
        All of it; an encoder's with as many steps as a base needs at least.

    Raises:
        InputError: If it is of another tier, or an LLM has no version to go by.
        StoreError: If there is no such version.
    """
    from backend.bases import OFFLINE_BASE, Base
    from training.recipe import Recipe, llm_recipe_from_json, recipe_from_json
    from training.schedule import LEAST_STEPS

    if reference is None:
        reference = store.default() if tier != LLM else LLM if store.current(LLM) else None
    if reference is None:
        raise InputError(
            "no LLM serves whose base and recipe could be gone by: train the first one with "
            "`tagalong train llm`, or name one with --like"
        )
    model = manifest_like(store, reference, tier=tier)
    base = Base(model.base, model.base_revision)
    if tier == LLM:
        return llm_trade(llm_recipe_from_json(model.config, base), store)
    recipe = (
        recipe_from_json(model.config, base) if model.config else Recipe(base=Base(OFFLINE_BASE))
    )
    least = max(recipe.schedule.least_steps, LEAST_STEPS)
    return encoder_trade(replace(recipe, schedule=replace(recipe.schedule, least_steps=least)))
