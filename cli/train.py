"""``tagalong train``: annotated documents in, a scored model version out."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from cli.announce import describe_sides, describe_version
from cli.console import echo_json, errors
from cli.options import (
    MAX_SEED,
    Annotators,
    AsJson,
    LabelConfigFile,
    Models,
    open_store,
    read_options,
)
from ner.catalogue import checked_name
from ner.manifest import Manifest, read_manifest
from ner.store import Store
from training.corpus import ReadOptions, read_corpus
from training.sides import Sides, choose_sides

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from collections.abc import Callable

    from training.recipe import Recipe
    from training.schedule import Progress as Standing

app = typer.Typer(no_args_is_help=True, help="Train a tier from annotated documents.")

Precision = Literal["auto", "bf16", "fp32"]


@app.callback()
def train_cli() -> None:
    """Train a tier from annotated documents."""


@app.command("encoder")
def encoder_cli(
    exports: Annotated[
        list[Path],
        typer.Argument(
            exists=True,
            dir_okay=False,
            help="What to learn from: Label Studio JSON or JSON_MIN, JSON lines, or CoNLL.",
        ),
    ],
    dev: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="What to stop by. [default: a held-out share]",
        ),
    ] = None,
    dev_share: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Share of the documents held out for dev.")
    ] = 0.1,
    base: Annotated[
        str | None,
        typer.Option(help="Hub id, folder, or package:MODULE/PATH. [default: MiniLM, offline]"),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Commit or tag of the base.")] = None,
    lora: Annotated[
        bool, typer.Option("--lora", help="Train an adapter of a few MB, not the whole model.")
    ] = False,
    qlora: Annotated[
        bool, typer.Option("--qlora", help="Train an adapter on a base kept in 4 bits.")
    ] = False,
    rank: Annotated[int, typer.Option(min=1, help="Of the adapter; alpha is twice that.")] = 32,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the data at most.")] = None,
    patience: Annotated[
        int | None, typer.Option(min=1, help="Epochs without a better dev F1 before stopping.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(min=0.0, help="At its peak.")] = None,
    batch_tokens: Annotated[
        int | None, typer.Option(min=64, help="Sub-words of a step, on each process.")
    ] = None,
    window: Annotated[
        int | None, typer.Option(min=32, help="Sub-words the model reads at once.")
    ] = None,
    dropout: Annotated[
        float | None, typer.Option(min=0.0, max=0.9, help="Of the hidden layers.")
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION", help="Take base and recipe from a version; no other setting counts."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=MAX_SEED, help="Of order, dropout and head.")
    ] = 42,
    precision: Annotated[
        Precision, typer.Option(help="auto is bf16 where the machine has it.")
    ] = "auto",
    annotators: Annotators = "majority",
    label_config: LabelConfigFile = None,
    name: Annotated[str, typer.Option(help="What the version's name starts with.")] = "encoder",
    models: Models = Path("models"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the same training after it was stopped.")
    ] = False,
    promote: Annotated[bool, typer.Option(help="Make the new version the current one.")] = True,
    as_json: AsJson = False,
) -> None:
    """Train an encoder and publish it as a model version.

    Example: tagalong train encoder export.json --epochs 10
    """
    given = {
        "epochs": epochs,
        "patience": patience,
        "learning_rate": learning_rate,
        "batch_tokens": batch_tokens,
        "seed": seed,
        "precision": precision,
    }
    manifest = train_encoder_version(
        exports,
        dev or [],
        reading=read_options(annotators, label_config),
        order=Order(
            base=base,
            revision=revision,
            rank=rank if lora or qlora else None,
            four_bit=qlora,
            window=window,
            dropout=dropout,
            like=like,
            schedule={name: value for name, value in given.items() if value is not None},
            dev_share=dev_share,
            name=name,
            resume=resume,
            promote=promote,
        ),
        store=open_store(models),
    )
    if manifest is not None and as_json:
        echo_json(manifest.to_json())


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
    dev_share: float
    name: str
    resume: bool
    promote: bool

    def recipe(self, store: Store) -> "Recipe":
        """Fill in the recipe's own defaults, or take the recipe of a version of the store."""
        from backend.bases import OFFLINE_BASE, Base
        from training.recipe import Adapter, Recipe, recipe_from_json
        from training.schedule import Schedule

        if self.like is not None:
            model = read_manifest(store.resolve(self.like))
            return recipe_from_json(model.config, Base(model.base, model.base_revision))
        recipe = Recipe(
            base=Base(self.base or OFFLINE_BASE, self.revision),
            adapter=Adapter(rank=self.rank, alpha=2 * self.rank) if self.rank else None,
            four_bit=self.four_bit,
            schedule=Schedule(**self.schedule),
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


def train_encoder_version(
    exports: Sequence[Path],
    dev: Sequence[Path],
    *,
    reading: ReadOptions,
    order: Order,
    store: Store,
) -> Manifest | None:
    """Read, train, publish and promote, telling how it goes on stderr.

    Args:
        exports: What to learn from.
        dev: What to stop by; empty to hold out a share.
        reading: How to read both.
        order: What to train.
        store: Where to publish.

    Returns:
        The new version's manifest; None on a process that only helps another one.
    """
    from training.encoder import train_encoder
    from training.loop import start_accelerator
    from training.publish import publish_encoder
    from training.state import forget_state

    checked_name(order.name)  # before an hour of training, not after it
    recipe = order.recipe(store)
    speaks = start_accelerator(recipe.schedule).is_main_process
    talk = errors if speaks else Console(quiet=True)
    corpus = read_corpus(exports, reading)
    judge = read_corpus(dev, reading) if dev else None
    sides = choose_sides(corpus, judge, dev_share=order.dev_share)
    talk.print(describe_sides(sides, corpus, judge), soft_wrap=True)
    state_path = unfinished(store, recipe, sides)
    if order.resume and not state_path.is_file():
        talk.print("Nothing to resume: no training of this recipe on these documents was stopped.")
    with progress_bar(talk) as report:
        trained = train_encoder(
            sides.train,
            sides.dev,
            labels=sides.labels,
            recipe=recipe,
            state_path=state_path,
            resume=order.resume,
            report=report,
        )
    if not trained.is_main:
        return None
    manifest, _ = publish_encoder(trained, sides, store=store, name=order.name)
    # A version that finds nothing right takes no other's place, whatever was asked for.
    promoted = order.promote and bool(manifest.scores["dev"]["strict_f1"])
    if promoted:
        store.promote("encoder", manifest.version)
    forget_state(state_path)
    talk.print(describe_version(manifest, trained.lost, promoted=promoted), soft_wrap=True)
    return manifest


def unfinished(store: Store, recipe: "Recipe", sides: Sides) -> Path:
    """Where a stopped training leaves its state: one place for each recipe and data."""
    what = json.dumps([asdict(recipe), sides.labels, sides.fingerprint], sort_keys=True)
    key = hashlib.sha256(what.encode()).hexdigest()[:16]
    return store.home("encoder") / f".training-{key}"


@contextmanager
def progress_bar(talk: Console) -> "Iterator[Callable[[Standing], None]]":
    """A bar with loss, dev F1 and time left, and a line for each epoch that has ended."""
    columns = ("[progress.description]{task.description}", "{task.fields[figures]}")
    with Progress(
        TextColumn(columns[0]), BarColumn(), TextColumn(columns[1]), console=talk, transient=True
    ) as bar:
        task = bar.add_task("Loading", total=None, figures="")
        told = 0

        def report(now: "Standing") -> None:
            nonlocal told
            best = f"dev F1 {max(now.scores):.4f}, " if now.scores else ""
            left = timedelta(seconds=round(now.seconds_left))
            bar.update(
                task,
                description=f"Epoch {now.epoch} of {now.epochs}",
                completed=now.step,
                total=now.steps,
                figures=f"loss {now.loss:.4f}, {best}{left} left",
            )
            if len(now.scores) > told:
                told = len(now.scores)
                bar.console.print(
                    f"Epoch {now.epoch} of {now.epochs}: loss {now.loss:.4f}, "
                    f"dev F1 {now.scores[-1]:.4f}, {left} left at most"
                )

        yield report
