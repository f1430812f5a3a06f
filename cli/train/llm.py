"""``tagalong train llm``: annotated documents and a decoder in, a scored adapter out."""

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
from tagalong.ner.tiers import LLM

DEFAULT_BASE = "mistralai/Mistral-7B-Instruct-v0.3"


def llm_cli(
    exports: ExportsArgument,
    dev: DevOption = None,
    dev_share: DevShareOption = 0.1,
    base: Annotated[
        str,
        typer.Option(
            help=("Base model, a decoder: Hugging Face Hub id, folder, or package:MODULE/PATH.")
        ),
    ] = DEFAULT_BASE,
    revision: RevisionOption = None,
    four_bit: Annotated[bool, typer.Option(help="Keep the base model in 4 bits (QLoRA).")] = True,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help=("Train all weights instead of an adapter, for small base models.")
        ),
    ] = False,
    rank: Annotated[
        int | None,
        typer.Option(min=1, help="LoRA rank; alpha is twice the rank.", show_default="128"),
    ] = None,
    epochs: EpochsOption = None,
    patience: PatienceOption = None,
    learning_rate: LearningRateOption = None,
    batch_tokens: BatchTokensOption = None,
    window: Annotated[
        int | None,
        typer.Option(
            min=64, help=("Maximum prompt length, in tokens; each word occurs twice in a prompt.")
        ),
    ] = None,
    train_window: Annotated[
        int | None,
        typer.Option(
            min=64,
            help="Maximum prompt length while training, in tokens.",
            show_default="as --window",
        ),
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help=("Share of input tags corrupted in training (scheduled sampling)."),
        ),
    ] = None,
    recipe_from: RecipeFromOption = None,
    seed: SeedOption = 42,
    precision: PrecisionOption = "auto",
    annotators: AnnotatorsOption = "majority",
    label_config: LabelConfigOption = None,
    name: VersionNameOption = LLM,
    models: ModelsOption = Path("models"),
    resume: ResumeOption = False,
    promote: PromoteOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train a decoder LLM to tag, by an adapter on a base in 4 bits, and publish the adapter.

    Example: tagalong train llm export.json --base mistralai/Mistral-7B-Instruct-v0.3

    On several GPUs: accelerate launch --multi_gpu -m tagalong train llm export.json
    """
    from tagalong.backend.models.base_models.base_model import BaseModelRef
    from tagalong.training.jobs.tier_trainers import read_recipe
    from tagalong.training.jobs.train_version import TrainJob
    from tagalong.training.recipes.llm_recipe import LLMRecipe
    from tagalong.training.recipes.recipe import AdapterConfig, Recipe

    store = open_store(models)
    recipe: Recipe
    if recipe_from is not None:
        recipe = read_recipe(store, LLM, recipe_from)
    else:
        default = LLMRecipe(base=BaseModelRef(base, revision))
        settings = drop_none(
            window=window, requested_train_window=train_window, tag_noise_share=noise
        )
        schedule = drop_none(
            epochs=epochs,
            patience=patience,
            learning_rate=learning_rate,
            batch_tokens=batch_tokens,
            seed=seed,
            precision=precision,
        )
        recipe = replace(
            default, four_bit=four_bit, schedule=replace(default.schedule, **schedule), **settings
        )
        if full:
            recipe = replace(recipe, adapter=None, four_bit=False, gradient_checkpointing=False)
        elif rank is not None:
            dropout = default.adapter.dropout if default.adapter else 0.0
            recipe = replace(recipe, adapter=AdapterConfig(rank, 2 * rank, dropout))
    version = run_training(
        TrainJob(
            tier=LLM,
            recipe=recipe,
            store=store,
            export_files=exports,
            dev_files=dev or (),
            dev_share=dev_share,
            read_options=build_read_options(annotators, label_config),
            name=name,
            resume=resume,
            promotion_policy=promote,
        )
    )
    if version is not None and as_json:
        echo_json(version.manifest.to_json())
