"""``tagalong train encoder``: annotated documents in, a scored model version out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tagalong.backend.storage.model_store import ModelStore
from tagalong.cli.terminal.console import echo_json
from tagalong.cli.terminal.options import (
    AnnotatorsOption,
    JsonOption,
    LabelConfigOption,
    ModelsOption,
    build_read_options,
    open_store,
)
from tagalong.cli.train.llm import llm_cli
from tagalong.cli.train.run import (
    BatchTokensOption,
    DevOption,
    DevShareOption,
    EpochsOption,
    ExportsArgument,
    LearningRateOption,
    PatienceOption,
    PrecisionOption,
    PromoteOption,
    RecipeFromOption,
    ResumeOption,
    RevisionOption,
    SeedOption,
    TierTrainer,
    TrainJob,
    VersionNameOption,
    drop_none,
    read_recipe_manifest,
    train_version,
)
from tagalong.cli.train.silver import (
    ExcludeOption,
    NoBaselineOption,
    SilverMinScoreOption,
    SilverOption,
    SilverWeightOption,
    build_silver_arguments,
    render_comparison,
    train_with_silver,
)
from tagalong.ner.model_registry import ENCODER, LLM

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from tagalong.training.recipes.recipe import EncoderRecipe

app = typer.Typer(no_args_is_help=True, help="Train a tier from annotated documents.")
app.command(LLM)(llm_cli)


@app.callback()
def train_cli() -> None:
    """Train a tier from annotated documents."""


@app.command(ENCODER)
def encoder_cli(
    exports: ExportsArgument,
    dev: DevOption = None,
    dev_share: DevShareOption = 0.1,
    base: Annotated[
        str | None,
        typer.Option(
            help=("Base model: Hugging Face Hub id, folder, or package:MODULE/PATH."),
            show_default="MiniLM, included",
        ),
    ] = None,
    revision: RevisionOption = None,
    lora: Annotated[
        bool,
        typer.Option(
            "--lora", help=("Train a LoRA adapter of a few MB instead of the whole model.")
        ),
    ] = False,
    qlora: Annotated[
        bool,
        typer.Option("--qlora", help="Train a LoRA adapter on a base model in 4 bits (QLoRA)."),
    ] = False,
    rank: Annotated[int, typer.Option(min=1, help="LoRA rank; alpha is twice the rank.")] = 32,
    epochs: EpochsOption = None,
    patience: PatienceOption = None,
    learning_rate: LearningRateOption = None,
    batch_tokens: BatchTokensOption = None,
    window: Annotated[
        int | None, typer.Option(min=32, help="Maximum sequence length, in tokens.")
    ] = None,
    dropout: Annotated[
        float | None, typer.Option(min=0.0, max=0.9, help="Dropout rate of the hidden layers.")
    ] = None,
    silver: SilverOption = None,
    silver_weight: SilverWeightOption = None,
    silver_min_score: SilverMinScoreOption = None,
    exclude: ExcludeOption = None,
    no_baseline: NoBaselineOption = False,
    recipe_from: RecipeFromOption = None,
    seed: SeedOption = 42,
    precision: PrecisionOption = "auto",
    annotators: AnnotatorsOption = "majority",
    label_config: LabelConfigOption = None,
    name: VersionNameOption = ENCODER,
    models: ModelsOption = Path("models"),
    resume: ResumeOption = False,
    promote: PromoteOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train an encoder and publish it as a model version.

    Example: tagalong train encoder export.json --epochs 10

    With an LLM's predictions: tagalong train encoder export.json --silver predictions.jsonl
    """
    from tagalong.training.encoder.train import train_encoder
    from tagalong.training.jobs.publish import publish_encoder

    order = EncoderArguments(
        base=base,
        revision=revision,
        rank=rank if lora or qlora else None,
        four_bit=qlora,
        window=window,
        dropout=dropout,
        recipe_from=recipe_from,
        schedule=drop_none(
            epochs=epochs,
            patience=patience,
            learning_rate=learning_rate,
            batch_tokens=batch_tokens,
            seed=seed,
            precision=precision,
        ),
    )
    assignment = TrainJob(
        export_files=exports,
        dev_files=dev or [],
        dev_share=dev_share,
        read_options=build_read_options(annotators, label_config),
        name=name,
        resume=resume,
        promotion_policy=promote,
        store=open_store(models),
    )
    trade = TierTrainer(
        ENCODER, order.build_recipe(assignment.store), train_encoder, publish_encoder
    )
    wanted = build_silver_arguments(
        files=silver,
        weight=silver_weight,
        least=silver_min_score,
        held_out=exclude,
        baseline=not no_baseline,
    )
    if wanted is None:
        manifest = train_version(trade, assignment)
        if manifest is not None and as_json:
            echo_json(manifest.to_json())
    elif made := train_with_silver(trade, assignment, wanted):
        if as_json:
            echo_json(made.to_json())
        else:
            render_comparison(made)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderArguments:
    """What was asked for on the command line; what was not is None, and chosen by the recipe."""

    base: str | None
    revision: str | None
    rank: int | None
    four_bit: bool
    window: int | None
    dropout: float | None
    recipe_from: str | None
    schedule: Mapping[str, Any]

    def build_recipe(self, store: ModelStore) -> "EncoderRecipe":
        """Fill in the recipe's own defaults, or take the recipe of a version of the store."""
        from tagalong.backend.models.base_models.base_model import OFFLINE_BASE_MODEL, BaseModelRef
        from tagalong.training.recipes.recipe import (
            AdapterConfig,
            EncoderRecipe,
            encoder_recipe_from_json,
        )
        from tagalong.training.recipes.schedule import MIN_STEPS

        if self.recipe_from is not None:
            model = read_recipe_manifest(store, self.recipe_from, tier=ENCODER)
            return encoder_recipe_from_json(
                model.config, BaseModelRef(model.base, model.base_revision)
            )
        least: dict[str, Any] = {"least_steps": 0 if "epochs" in self.schedule else MIN_STEPS}
        recipe = EncoderRecipe(
            base=BaseModelRef(self.base or OFFLINE_BASE_MODEL, self.revision),
            adapter=AdapterConfig(rank=self.rank, alpha=2 * self.rank) if self.rank else None,
            four_bit=self.four_bit,
            schedule=replace(EncoderRecipe().schedule, **least, **self.schedule),
        )
        if self.dropout is not None:
            recipe = replace(recipe, dropout=self.dropout)
        if self.window is not None:
            shorter = min(self.window, recipe.lesson.window)
            recipe = replace(
                recipe,
                reading=replace(recipe.reading, window=self.window),
                lesson=replace(recipe.lesson, window=shorter),
            )
        return recipe
