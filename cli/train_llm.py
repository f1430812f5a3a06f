"""``tagalong train llm``: annotated documents and a decoder in, a scored adapter out."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.console import echo_json
from cli.options import (
    Annotators,
    AsJson,
    LabelConfigFile,
    Models,
    default_drafter,
    open_store,
    read_options,
)
from cli.training import (
    Arithmetic,
    Assignment,
    BatchTokens,
    Dev,
    DevShare,
    Epochs,
    Exports,
    LearningRate,
    Like,
    Name,
    Patience,
    Promote,
    Resume,
    Revision,
    Seed,
    Trade,
    given,
    manifest_like,
    train_version,
)
from ner.document import Document

DOCUMENTED_BASE = "mistralai/Mistral-7B-Instruct-v0.3"


def llm_cli(
    exports: Exports,
    dev: Dev = None,
    dev_share: DevShare = 0.1,
    base: Annotated[
        str, typer.Option(help="Hub id, folder, or package:MODULE/PATH of a decoder.")
    ] = DOCUMENTED_BASE,
    revision: Revision = None,
    four_bit: Annotated[bool, typer.Option(help="Keep the base in 4 bits (QLoRA).")] = True,
    full: Annotated[
        bool, typer.Option("--full", help="Train the whole model, not an adapter: for small bases.")
    ] = False,
    rank: Annotated[
        int | None,
        typer.Option(min=1, help="Of the adapter; alpha is twice that.", show_default="128"),
    ] = None,
    epochs: Epochs = None,
    patience: Patience = None,
    learning_rate: LearningRate = None,
    batch_tokens: BatchTokens = None,
    window: Annotated[
        int | None,
        typer.Option(min=64, help="Tokens the model reads at once, each word twice."),
    ] = None,
    lesson_window: Annotated[
        int | None,
        typer.Option(min=64, help="The same while it learns.", show_default="as --window"),
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Share of the tags fed back that are made wrong."),
    ] = None,
    like: Like = None,
    seed: Seed = 42,
    precision: Arithmetic = "auto",
    annotators: Annotators = "majority",
    label_config: LabelConfigFile = None,
    name: Name = "llm",
    models: Models = Path("models"),
    resume: Resume = False,
    promote: Promote = True,
    as_json: AsJson = False,
) -> None:
    """Train a decoder LLM to tag, by an adapter on a base in 4 bits, and publish the adapter.

    Example: tagalong train llm export.json --base mistralai/Mistral-7B-Instruct-v0.3

    On several GPUs: accelerate launch --multi_gpu -m cli train llm export.json
    """
    from backend.bases import Base
    from training.llm import TrainedLLM, train_llm
    from training.publish import publish_llm
    from training.recipe import Adapter, LLMRecipe, llm_recipe_from_json

    store = open_store(models)
    if like is not None:
        model = manifest_like(store, like, tier="llm")
        recipe = llm_recipe_from_json(model.config, Base(model.base, model.base_revision))
    else:
        plain = LLMRecipe(base=Base(base, revision))
        settings = given(window=window, lesson=lesson_window, noise=noise)
        schedule = given(
            epochs=epochs,
            patience=patience,
            learning_rate=learning_rate,
            batch_tokens=batch_tokens,
            seed=seed,
            precision=precision,
        )
        recipe = replace(
            plain, four_bit=four_bit, schedule=replace(plain.schedule, **schedule), **settings
        )
        if full:
            recipe = replace(recipe, adapter=None, four_bit=False, checkpointing=False)
        elif rank is not None:
            dropout = plain.adapter.dropout if plain.adapter else 0.0
            recipe = replace(recipe, adapter=Adapter(rank, 2 * rank, dropout))
    assignment = Assignment(
        exports=exports,
        dev=dev or [],
        dev_share=dev_share,
        reading=read_options(annotators, label_config),
        name=name,
        resume=resume,
        promote=promote,
        store=store,
    )

    def train_drafted(*sides: Sequence[Document], labels: Sequence[str], **how: Any) -> TrainedLLM:
        """Train; the encoder that will draft in serving drafts dev whenever it is judged."""
        return train_llm(*sides, labels=labels, drafter=default_drafter(store, labels), **how)

    manifest = train_version(Trade("llm", recipe, train_drafted, publish_llm), assignment)
    if manifest is not None and as_json:
        echo_json(manifest.to_json())
