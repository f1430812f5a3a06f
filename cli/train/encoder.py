"""``tagalong train encoder``: annotated documents in, a scored version out."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

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
    VersionNameOption,
    drop_none,
    run_training,
)
from tagalong.cli.train.silver import (
    ExcludeOption,
    NoBaselineOption,
    SilverMinScoreOption,
    SilverOption,
    SilverWeightOption,
    build_silver_input,
    render_comparison,
)
from tagalong.ner.tiers import ENCODER

app = typer.Typer(no_args_is_help=True, help="Train a tier from annotated documents.")
app.command("llm")(llm_cli)


@app.callback()
def train_cli() -> None:
    """Train a tier from annotated documents."""


@app.command("encoder")
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
    from tagalong.backend.models.base_models.base_model import OFFLINE_BASE_MODEL, BaseModelRef
    from tagalong.training.evaluation.report import report_to_json
    from tagalong.training.jobs.tier_trainers import read_recipe
    from tagalong.training.jobs.train_version import TrainJob
    from tagalong.training.recipes.encoder_recipe import EncoderRecipe
    from tagalong.training.recipes.recipe import AdapterConfig, Recipe
    from tagalong.training.recipes.schedule import MIN_STEPS

    store = open_store(models)
    silver_input = build_silver_input(
        files=silver,
        weight=silver_weight,
        min_score=silver_min_score,
        excluded_files=exclude,
        with_baseline=not no_baseline,
    )
    recipe: Recipe
    if recipe_from is not None:
        recipe = read_recipe(store, ENCODER, recipe_from)
    else:
        schedule = drop_none(
            epochs=epochs,
            patience=patience,
            learning_rate=learning_rate,
            batch_tokens=batch_tokens,
            seed=seed,
            precision=precision,
            min_steps=MIN_STEPS if epochs is None else 0,  # --epochs is obeyed
        )
        recipe = EncoderRecipe(
            base=BaseModelRef(base or OFFLINE_BASE_MODEL, revision),
            adapter=AdapterConfig(rank=rank, alpha=2 * rank) if lora or qlora else None,
            four_bit=qlora,
            schedule=replace(EncoderRecipe().schedule, **schedule),
            **drop_none(dropout=dropout),
        )
        recipe = recipe if window is None else recipe.with_window(window)
    version = run_training(
        TrainJob(
            tier=ENCODER,
            recipe=recipe,
            store=store,
            export_files=exports,
            dev_files=dev or (),
            dev_share=dev_share,
            read_options=build_read_options(annotators, label_config),
            silver=silver_input,
            name=name,
            resume=resume,
            promotion_policy=promote,
        )
    )
    if version is None:
        return
    comparison = version.comparison
    if not as_json:
        if comparison is not None:
            render_comparison(comparison)
        return
    report = None if comparison is None else report_to_json(comparison)
    echo_json(version.manifest.to_json() | ({"report": report} if silver_input else {}))
