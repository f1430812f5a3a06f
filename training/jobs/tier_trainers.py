"""How each tier is trained and published: the one table that every command and job uses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.models.load import load_drafter
from tagalong.backend.models.openvino.compile import should_use_openvino
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.errors import InputError
from tagalong.ner.manifest import Manifest, read_manifest
from tagalong.ner.tiers import ENCODER, LLM, TIER_NAMES
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.encoder.train import EncoderTrainResult, train_encoder
from tagalong.training.llm.train import LLMTrainResult, train_llm
from tagalong.training.loop.trainer import AnyTrainResult, ProgressCallback
from tagalong.training.loop.warm_start import find_warm_start_obstacle
from tagalong.training.recipes.encoder_recipe import (
    EncoderRecipe,
    encoder_recipe_from_json,
    with_min_steps,
)
from tagalong.training.recipes.llm_recipe import llm_recipe_from_json
from tagalong.training.recipes.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """Run-time options of a training, which do not change its result.

    Attributes:
        store: Has the version of a warm start, and the encoder that drafts for an LLM.
        state_path: File of the training state.
        resume: Continue from the saved state, if there is one.
        on_progress: Called after every step and every evaluation, on the main process.
    """

    store: ModelStore
    state_path: Path
    resume: bool = False
    on_progress: ProgressCallback = lambda _: None


@dataclass(frozen=True, slots=True, kw_only=True)
class TierTrainer:
    """How a tier is trained.

    Attributes:
        train: Trains on a split by a recipe.
        recipe_from_json: Reads a recipe from the config of a manifest.
        default_recipe: Replaces the recipe of a version without one, such as a bundled version.
        adapt_recipe: Adapts the recipe of a version to a retraining on few documents.
        warm_start_obstacle: Explains why a training cannot start from a version; empty if it can.
    """

    train: Callable[[TrainDevSplit, Any, TrainOptions], AnyTrainResult]
    recipe_from_json: Callable[[Mapping[str, Any], BaseModelRef], Recipe]
    default_recipe: Callable[[], Recipe] | None = None
    adapt_recipe: Callable[[Any], Recipe] = lambda recipe: recipe
    warm_start_obstacle: Callable[[Manifest, Any, tuple[str, ...]], str]


def _train_encoder(
    split: TrainDevSplit, recipe: EncoderRecipe, options: TrainOptions
) -> EncoderTrainResult:
    warm_start = split.warm_start_version
    return train_encoder(
        split,
        recipe=recipe,
        state_path=options.state_path,
        warm_start_dir=options.store.resolve(warm_start) if warm_start else None,
        resume=options.resume,
        on_progress=options.on_progress,
    )


def _train_llm(split: TrainDevSplit, recipe: Any, options: TrainOptions) -> LLMTrainResult:
    return train_llm(
        split,
        recipe=recipe,
        state_path=options.state_path,
        resume=options.resume,
        on_progress=options.on_progress,
        # The encoder that drafts in serving also drafts dev: evaluation is faster.
        drafter=load_drafter(options.store, split.labels, use_openvino=should_use_openvino()),
    )


TIER_TRAINERS: Mapping[str, TierTrainer] = {
    ENCODER: TierTrainer(
        train=_train_encoder,
        recipe_from_json=encoder_recipe_from_json,
        default_recipe=EncoderRecipe,
        adapt_recipe=with_min_steps,
        warm_start_obstacle=find_warm_start_obstacle,
    ),
    LLM: TierTrainer(
        train=_train_llm,
        recipe_from_json=llm_recipe_from_json,
        warm_start_obstacle=lambda *_: "an LLM's adapter is trained from its base",
    ),
}


def read_recipe(store: ModelStore, tier: str, reference: str) -> Recipe:
    """Read the recipe of a version, with its base.

    Raises `InputError` if the version is of another tier, `RegistryError` if there is no such
    version, or it is damaged.
    """
    manifest = read_manifest(store.resolve(reference))
    if manifest.tier != tier:
        raise InputError(
            f"version {manifest.version} is of tier {manifest.tier!r}, so its recipe cannot train "
            f"a version of tier {tier!r}: name one of that tier",
            code="recipe-of-other-tier",
        )
    trainer = TIER_TRAINERS[tier]
    if not manifest.config and trainer.default_recipe is not None:
        return trainer.default_recipe()
    base = BaseModelRef(manifest.base, manifest.base_revision)
    return trainer.recipe_from_json(manifest.config, base)


def read_retraining_recipe(store: ModelStore, tier: str, reference: str | None) -> Recipe:
    """Read the recipe of a retraining, with at least the steps that few documents need.

    Args:
        store: The model store.
        tier: The tier to train.
        reference: A version; None for the served one.

    Returns:
        The recipe, or the default one for a version that has none.

    Raises:
        InputError: If the version is of another tier, or none is served and none is named.
        RegistryError: If there is no such version.
    """
    if reference is None and not store.served_version(tier):
        raise InputError(
            f"no {TIER_NAMES[tier]} is served whose base and recipe a retraining could use: train "
            f"the first one with `tagalong train {tier}`, or name one with --recipe-from",
            code="no-recipe",
        )
    return TIER_TRAINERS[tier].adapt_recipe(read_recipe(store, tier, reference or tier))
