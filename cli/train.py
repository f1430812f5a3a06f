"""``tagalong train encoder``: annotated documents in, a scored model version out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import echo_json
from cli.options import Annotators, AsJson, LabelConfigFile, Models, open_store, read_options
from cli.train_llm import llm_cli
from cli.train_silver import (
    HeldOut,
    NoBaseline,
    SilverFiles,
    SilverLeast,
    SilverWeight,
    render_gain,
    silver_order,
    train_with_silver,
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
from ner.store import Store

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from training.recipe import Recipe

app = typer.Typer(no_args_is_help=True, help="Train a tier from annotated documents.")
app.command("llm")(llm_cli)


@app.callback()
def train_cli() -> None:
    """Train a tier from annotated documents."""


@app.command("encoder")
def encoder_cli(
    exports: Exports,
    dev: Dev = None,
    dev_share: DevShare = 0.1,
    base: Annotated[
        str | None,
        typer.Option(
            help="Hub id, folder, or package:MODULE/PATH.", show_default="MiniLM, offline"
        ),
    ] = None,
    revision: Revision = None,
    lora: Annotated[
        bool, typer.Option("--lora", help="Train an adapter of a few MB, not the whole model.")
    ] = False,
    qlora: Annotated[
        bool, typer.Option("--qlora", help="Train an adapter on a base kept in 4 bits.")
    ] = False,
    rank: Annotated[int, typer.Option(min=1, help="Of the adapter; alpha is twice that.")] = 32,
    epochs: Epochs = None,
    patience: Patience = None,
    learning_rate: LearningRate = None,
    batch_tokens: BatchTokens = None,
    window: Annotated[
        int | None, typer.Option(min=32, help="Sub-words the model reads at once.")
    ] = None,
    dropout: Annotated[
        float | None, typer.Option(min=0.0, max=0.9, help="Of the hidden layers.")
    ] = None,
    silver: SilverFiles = None,
    silver_weight: SilverWeight = None,
    silver_least: SilverLeast = None,
    held_out: HeldOut = None,
    no_baseline: NoBaseline = False,
    like: Like = None,
    seed: Seed = 42,
    precision: Arithmetic = "auto",
    annotators: Annotators = "majority",
    label_config: LabelConfigFile = None,
    name: Name = "encoder",
    models: Models = Path("models"),
    resume: Resume = False,
    promote: Promote = True,
    as_json: AsJson = False,
) -> None:
    """Train an encoder and publish it as a model version.

    Example: tagalong train encoder export.json --epochs 10

    With what an LLM said of other texts: tagalong train encoder export.json --silver said.jsonl
    """
    from training.encoder import train_encoder
    from training.publish import publish_encoder

    order = Order(
        base=base,
        revision=revision,
        rank=rank if lora or qlora else None,
        four_bit=qlora,
        window=window,
        dropout=dropout,
        like=like,
        schedule=given(
            epochs=epochs,
            patience=patience,
            learning_rate=learning_rate,
            batch_tokens=batch_tokens,
            seed=seed,
            precision=precision,
        ),
    )
    assignment = Assignment(
        exports=exports,
        dev=dev or [],
        dev_share=dev_share,
        reading=read_options(annotators, label_config),
        name=name,
        resume=resume,
        promote=promote,
        store=open_store(models),
    )
    trade = Trade("encoder", order.recipe(assignment.store), train_encoder, publish_encoder)
    wanted = silver_order(
        files=silver,
        weight=silver_weight,
        least=silver_least,
        held_out=held_out,
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
            render_gain(made)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was asked for on the command line; what was not is None, and chosen by the recipe."""

    base: str | None
    revision: str | None
    rank: int | None
    four_bit: bool
    window: int | None
    dropout: float | None
    like: str | None
    schedule: Mapping[str, Any]

    def recipe(self, store: Store) -> "Recipe":
        """Fill in the recipe's own defaults, or take the recipe of a version of the store."""
        from backend.bases import OFFLINE_BASE, Base
        from training.recipe import Adapter, Recipe, recipe_from_json
        from training.schedule import LEAST_STEPS

        if self.like is not None:
            model = manifest_like(store, self.like, tier="encoder")
            return recipe_from_json(model.config, Base(model.base, model.base_revision))
        least: dict[str, Any] = {"least_steps": 0 if "epochs" in self.schedule else LEAST_STEPS}
        recipe = Recipe(
            base=Base(self.base or OFFLINE_BASE, self.revision),
            adapter=Adapter(rank=self.rank, alpha=2 * self.rank) if self.rank else None,
            four_bit=self.four_bit,
            schedule=replace(Recipe().schedule, **least, **self.schedule),
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
