"""How each tier is trained and published: the one table that every command and job uses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.models.load import load_drafter
from tagalong.backend.models.openvino.compile import should_use_openvino
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.errors import InputError, TrainingError
from tagalong.ner.manifest import WORD_RULE_KEY, Manifest, read_manifest
from tagalong.ner.tiers import ENCODER, LLM, TIER_DISPLAY_NAMES
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.encoder.train import explain_no_warm_start, train_encoder
from tagalong.training.loop.trainer import AnyTrainResult
from tagalong.training.recipes.encoder_recipe import EncoderRecipe, raise_min_steps
from tagalong.training.recipes.llm_recipe import LLMRecipe
from tagalong.training.recipes.recipe import Recipe, recipe_from_json


@dataclass(frozen=True, slots=True, kw_only=True)
class TierTrainer:
    """How a tier is trained."""

    train: Callable[..., AnyTrainResult]
    # Options of `train` that come from the store, such as the drafter of an LLM.
    store_options: Callable[[ModelStore, TrainDevSplit], Mapping[str, Any]]
    recipe_type: Callable[..., Recipe]
    # of `DocumentTagger.config_to_json`, beside the recipe's keys
    serving_keys: tuple[str, ...] = ()
    default_recipe: Callable[[], Recipe] | None = None  # of a version without one
    adapt_recipe: Callable[[Any], Recipe] = lambda recipe: recipe  # to retraining on few documents
    # Why a training cannot start from a version; empty if it can.
    explain_no_warm_start: Callable[[Manifest, Any, tuple[str, ...]], str]


def _find_warm_start(store: ModelStore, split: TrainDevSplit) -> Mapping[str, Any]:
    version = split.warm_start_version
    return {"warm_start_dir": store.resolve(version) if version else None}


def _load_drafter(store: ModelStore, split: TrainDevSplit) -> Mapping[str, Any]:
    # The encoder that drafts in serving also drafts dev: evaluation is faster.
    return {"drafter": load_drafter(store, split.labels, use_openvino=should_use_openvino())}


def _train_llm(split: TrainDevSplit, **options: Any) -> AnyTrainResult:
    from tagalong.training.llm.train import train_llm  # seconds, because of peft

    return train_llm(split, **options)


TIER_TRAINERS: Mapping[str, TierTrainer] = {
    ENCODER: TierTrainer(
        train=train_encoder,
        store_options=_find_warm_start,
        recipe_type=EncoderRecipe,
        serving_keys=(WORD_RULE_KEY,),
        default_recipe=EncoderRecipe,
        adapt_recipe=raise_min_steps,
        explain_no_warm_start=explain_no_warm_start,
    ),
    LLM: TierTrainer(
        train=_train_llm,
        store_options=_load_drafter,
        recipe_type=LLMRecipe,
        serving_keys=("prompt", "verbalisers", WORD_RULE_KEY),
        explain_no_warm_start=lambda *_: "an LLM's adapter is trained from its base",
    ),
}


def find_trainer(tier: str) -> TierTrainer:
    """Find the trainer of a tier.

    Raises `TrainingError` if the tier is only served.
    """
    if tier not in TIER_TRAINERS:
        raise TrainingError(
            f"tier {tier!r} has no trainer in this release of Tagalong: train one of "
            f"{', '.join(TIER_TRAINERS)}",
            code="tier-without-trainer",
        )
    return TIER_TRAINERS[tier]


def train_tier(
    tier: str, split: TrainDevSplit, recipe: Recipe, store: ModelStore, **options: Any
) -> AnyTrainResult:
    """Train a model of a tier; see `train_encoder` for `state_path` and the other options.

    Raises `TrainingError` if the tier has no trainer, or its training cannot start or continue.
    """
    trainer = find_trainer(tier)
    return trainer.train(split, recipe=recipe, **trainer.store_options(store, split), **options)


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
    trainer = find_trainer(tier)
    if not manifest.config and trainer.default_recipe is not None:
        return trainer.default_recipe()
    base = BaseModelRef(manifest.base, manifest.base_revision)
    own_keys = manifest.config.keys() - set(trainer.serving_keys)
    settings = {key: manifest.config[key] for key in own_keys}
    return recipe_from_json(trainer.recipe_type, settings, base)


def read_retraining_recipe(
    store: ModelStore, tier: str, reference: str | None, *, model: str
) -> Recipe:
    """Read the recipe of a retraining, with at least the steps that few documents need.

    `reference` is a version; None for the current one of the `model`. Raises `InputError` if the
    version is of another tier, or none is current and none is named. Raises `RegistryError` if
    there is no such version, and `TrainingError` if the tier has no trainer.
    """
    trainer = find_trainer(tier)
    if reference is None and not store.current_version(model):
        name = TIER_DISPLAY_NAMES[tier]
        raise InputError(
            f"there is no current {name} whose base and recipe a retraining could use: train the "
            f"first one with `tagalong train {tier}`, or name one with --recipe-from",
            code="no-recipe",
        )
    return trainer.adapt_recipe(read_recipe(store, tier, reference or model))
