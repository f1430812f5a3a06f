"""``tagalong train llm``: annotated documents in, a scored adapter out."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagalong.backend.formats.columns import ColumnOptions
from tagalong.cli.terminal.options import (
    AnnotatorsOption,
    EntityLabelOption,
    JsonOption,
    LabelConfigOption,
    ModelsOption,
    TagColumnOption,
    WordColumnOption,
    build_read_options,
    open_store,
)
from tagalong.cli.train import options
from tagalong.cli.train.messages import train_and_print
from tagalong.ner.tiers import LLM

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from tagalong.training.recipes.llm_recipe import LLMRecipe

DEFAULT_BASE = "mistralai/Mistral-7B-Instruct-v0.3"


def train_cli(
    exports: options.ExportsArgument,
    dev: options.DevOption = None,
    dev_share: options.DevShareOption = 0.1,
    base: options.DecoderBaseOption = DEFAULT_BASE,
    revision: options.RevisionOption = None,
    four_bit: options.FourBitOption = True,
    full: options.FullOption = False,
    rank: options.DecoderRankOption = None,
    epochs: options.EpochsOption = None,
    patience: options.PatienceOption = None,
    learning_rate: options.LearningRateOption = None,
    batch_tokens: options.BatchTokensOption = None,
    window: options.PromptWindowOption = None,
    train_window: options.TrainWindowOption = None,
    tag_noise: options.TagNoiseOption = None,
    recipe_from: options.RecipeFromOption = None,
    seed: options.SeedOption = 42,
    precision: options.PrecisionOption = "auto",
    annotators: AnnotatorsOption = "majority",
    label_config: LabelConfigOption = None,
    word_rule: options.WordRuleOption = None,
    allow_losses: options.AllowLossesOption = False,
    word_column: WordColumnOption = None,
    tag_column: TagColumnOption = None,
    entity_label: EntityLabelOption = None,
    name: options.VersionNameOption = None,
    model: options.TargetModelOption = LLM,
    models: ModelsOption = Path("models"),
    resume: options.ResumeOption = False,
    promote: options.PromoteOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train a decoder LLM to tag, by an adapter on a base in 4 bits, and publish the adapter.

    Example: tagalong train llm export.json --base mistralai/Mistral-7B-Instruct-v0.3

    On several GPUs: accelerate launch --multi_gpu -m tagalong train llm export.json
    """
    from tagalong.training.jobs.tier_trainers import read_recipe
    from tagalong.training.jobs.train_version import TrainInputs, TrainJob

    store = open_store(models)
    schedule = options.schedule_settings(
        epochs, patience, learning_rate, batch_tokens, seed, precision
    )
    settings = options.drop_none(
        window=window, requested_train_window=train_window, tag_noise_share=tag_noise
    )
    settings["four_bit"] = four_bit
    recipe = (
        _build_recipe((base, revision), full, rank, schedule, settings)
        if recipe_from is None
        else read_recipe(store, LLM, recipe_from)
    )
    columns = ColumnOptions(word_column, tag_column, entity_label)
    reading = build_read_options(annotators, label_config, columns)
    inputs = TrainInputs(exports, dev or (), dev_share, reading, word_rule, allow_losses)
    job = TrainJob(LLM, recipe, store, name or model, model, resume, promote)
    train_and_print(job, inputs, as_json=as_json)


def _build_recipe(
    base: tuple[str, str | None],
    full: bool,
    rank: int | None,
    schedule: dict[str, Any],
    settings: dict[str, Any],
) -> "LLMRecipe":
    """Build a recipe from options; `base` has a revision, and None as rank is for the default."""
    from tagalong.backend.models.base_models.base_model import BaseModelRef
    from tagalong.training.recipes.llm_recipe import LLMRecipe

    recipe = LLMRecipe(base=BaseModelRef(*base), **settings)
    recipe = replace(recipe, schedule=replace(recipe.schedule, **schedule))
    if full:
        return replace(recipe, adapter=None, four_bit=False, gradient_checkpointing=False)
    if rank is None or recipe.adapter is None:
        return recipe
    return replace(recipe, adapter=replace(recipe.adapter, rank=rank, alpha=2 * rank))
