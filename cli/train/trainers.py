"""How each tier is trained, given a recipe."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tagalong.backend.storage.model_store import ModelStore
from tagalong.cli.terminal.options import load_default_drafter
from tagalong.cli.train.run import TierTrainer, read_recipe_manifest
from tagalong.ner.document import Document
from tagalong.ner.errors import InputError
from tagalong.ner.model_registry import ENCODER, LLM

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from tagalong.training.llm.train import LLMTrainResult
    from tagalong.training.recipes.recipe import EncoderRecipe, LLMRecipe


def build_encoder_trainer(recipe: "EncoderRecipe") -> TierTrainer:
    """How an encoder is trained.

    Args:
        recipe: What to do.

    Returns:
        All of it.
    """
    from tagalong.training.encoder.train import train_encoder
    from tagalong.training.jobs.publish import publish_encoder

    return TierTrainer(ENCODER, recipe, train_encoder, publish_encoder)


def build_llm_trainer(recipe: "LLMRecipe", store: ModelStore) -> TierTrainer:
    """How an LLM is trained; the encoder that will draft in serving drafts dev, too.

    Args:
        recipe: What to do.
        store: Where that encoder is.

    Returns:
        All of it.
    """
    from tagalong.training.jobs.publish import publish_llm
    from tagalong.training.llm.train import train_llm

    def train_drafted(
        *sides: Sequence[Document], labels: Sequence[str], **how: Any
    ) -> "LLMTrainResult":
        return train_llm(*sides, labels=labels, drafter=load_default_drafter(store, labels), **how)

    return TierTrainer(LLM, recipe, train_drafted, publish_llm)


def build_trainer_like(store: ModelStore, tier: str, reference: str | None) -> TierTrainer:
    """How a tier is trained by the recipe of a version, on however few documents.

    Args:
        store: Where it is.
        tier: To be trained.
        reference: To the version; None for the one that serves, else the recipe's own defaults.

    Returns:
        All of it; an encoder's with as many steps as a base needs at least.

    Raises:
        InputError: If it is of another tier, or an LLM has no version to go by.
        RegistryError: If there is no such version.
    """
    from tagalong.backend.models.base_models.base_model import OFFLINE_BASE_MODEL, BaseModelRef
    from tagalong.training.recipes.recipe import (
        EncoderRecipe,
        encoder_recipe_from_json,
        llm_recipe_from_json,
    )
    from tagalong.training.recipes.schedule import MIN_STEPS

    if reference is None:
        reference = (
            store.default_reference()
            if tier != LLM
            else LLM
            if store.current_version(LLM)
            else None
        )
    if reference is None:
        raise InputError(
            "no LLM serves whose base and recipe could be gone by: train the first one with "
            "`tagalong train llm`, or name one with --recipe-from"
        )
    model = read_recipe_manifest(store, reference, tier=tier)
    base = BaseModelRef(model.base, model.base_revision)
    if tier == LLM:
        return build_llm_trainer(llm_recipe_from_json(model.config, base), store)
    recipe = (
        encoder_recipe_from_json(model.config, base)
        if model.config
        else EncoderRecipe(base=BaseModelRef(OFFLINE_BASE_MODEL))
    )
    least = max(recipe.schedule.least_steps, MIN_STEPS)
    return build_encoder_trainer(
        replace(recipe, schedule=replace(recipe.schedule, least_steps=least))
    )
