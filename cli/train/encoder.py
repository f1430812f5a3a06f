"""``tagalong train encoder``: annotated documents in, a scored version out."""

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
from tagalong.ner.tiers import ENCODER

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from tagalong.training.recipes.encoder_recipe import EncoderRecipe


def train_cli(
    exports: options.ExportsArgument,
    dev: options.DevOption = None,
    dev_share: options.DevShareOption = 0.1,
    base: options.BaseOption = None,
    revision: options.RevisionOption = None,
    lora: options.LoraOption = False,
    qlora: options.QLoraOption = False,
    rank: options.RankOption = 32,
    epochs: options.EpochsOption = None,
    patience: options.PatienceOption = None,
    learning_rate: options.LearningRateOption = None,
    batch_tokens: options.BatchTokensOption = None,
    window: options.WindowOption = None,
    dropout: options.DropoutOption = None,
    silver: options.SilverOption = None,
    silver_weight: options.SilverWeightOption = None,
    silver_min_score: options.SilverMinScoreOption = None,
    exclude: options.ExcludeOption = None,
    no_baseline: options.NoBaselineOption = False,
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
    model: options.TargetModelOption = ENCODER,
    models: ModelsOption = Path("models"),
    resume: options.ResumeOption = False,
    promote: options.PromoteOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train an encoder and publish it as a model version.

    Example: tagalong train encoder export.json --epochs 10

    With an LLM's predictions: tagalong train encoder export.json --silver predictions.jsonl
    """
    from tagalong.training.jobs.tier_trainers import read_recipe
    from tagalong.training.jobs.train_version import TrainInputs, TrainJob

    added = options.build_silver_options(
        silver, silver_weight, silver_min_score, exclude, no_baseline
    )
    schedule = options.schedule_settings(
        epochs, patience, learning_rate, batch_tokens, seed, precision
    )
    store, adapter_rank = open_store(models), rank if lora or qlora else None
    recipe = (
        _build_recipe((base, revision), adapter_rank, qlora, schedule, window, dropout)
        if recipe_from is None
        else read_recipe(store, ENCODER, recipe_from)
    )
    columns = ColumnOptions(word_column, tag_column, entity_label)
    reading = build_read_options(annotators, label_config, columns)
    job = TrainJob(ENCODER, recipe, store, name or model, model, resume, promote)
    inputs = TrainInputs(exports, dev or (), dev_share, reading, word_rule, allow_losses, added)
    train_and_print(job, inputs, as_json=as_json)


def _build_recipe(
    base: tuple[str | None, str | None],
    rank: int | None,
    four_bit: bool,
    schedule: dict[str, Any],
    window: int | None,
    dropout: float | None,
) -> "EncoderRecipe":
    """Build a recipe from options; `base` has a revision, and None as rank is for no adapter."""
    from tagalong.backend.models.base_models.base_model import OFFLINE_BASE_MODEL, BaseModelRef
    from tagalong.training.recipes.encoder_recipe import EncoderRecipe
    from tagalong.training.recipes.recipe import AdapterConfig
    from tagalong.training.recipes.schedule import MIN_STEPS

    schedule["min_steps"] = 0 if "epochs" in schedule else MIN_STEPS  # --epochs is obeyed
    reference, revision = base
    recipe = EncoderRecipe(
        base=BaseModelRef(reference or OFFLINE_BASE_MODEL, revision),
        adapter=None if rank is None else AdapterConfig(rank=rank, alpha=2 * rank),
        four_bit=four_bit,
        schedule=replace(EncoderRecipe().schedule, **schedule),
        **options.drop_none(dropout=dropout),
    )
    return recipe if window is None else recipe.with_window(window)
