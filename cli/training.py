"""What the commands that train have in common: options, the steps, and how they are told."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from cli.announce import describe_sides, describe_version
from cli.console import errors
from cli.engines import engine_of
from cli.options import MAX_SEED
from ner.catalogue import DEFAULT_TIER, checked_name
from ner.errors import InputError
from ner.manifest import Manifest, read_manifest
from ner.store import Store
from training.corpus import ReadOptions, read_corpus
from training.sides import Sides, choose_sides

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from training.recipe import LLMRecipe, Recipe
    from training.schedule import Progress as Standing

Precision = Literal["auto", "bf16", "fp32"]
Exports = Annotated[
    list[Path],
    typer.Argument(
        exists=True,
        dir_okay=False,
        help="What to learn from: Label Studio JSON or JSON_MIN, JSON lines, or CoNLL.",
    ),
]
Dev = Annotated[
    list[Path] | None,
    typer.Option(
        exists=True, dir_okay=False, help="What to stop by.", show_default="a held-out share"
    ),
]
DevShare = Annotated[
    float, typer.Option(min=0.01, max=0.9, help="Share of the documents held out for dev.")
]
Revision = Annotated[str | None, typer.Option(help="Commit or tag of the base.")]
Epochs = Annotated[int | None, typer.Option(min=1, help="Passes over the data at most.")]
Patience = Annotated[
    int | None, typer.Option(min=1, help="Epochs without a better dev F1 before stopping.")
]
LearningRate = Annotated[float | None, typer.Option(min=0.0, help="At its peak.")]
BatchTokens = Annotated[
    int | None, typer.Option(min=64, help="Sub-words of a step, on each process.")
]
Like = Annotated[
    str | None,
    typer.Option(
        metavar="VERSION", help="Take base and recipe from a version; no other setting counts."
    ),
]
Seed = Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Of order, dropout and head.")]
Arithmetic = Annotated[Precision, typer.Option(help="auto is bf16 where the machine has it.")]
Name = Annotated[str, typer.Option(help="What the version's name starts with.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the same training after it was stopped.")
]
Promote = Annotated[bool, typer.Option(help="Make the new version the current one.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What to learn from, what to stop by, and what to do with what comes of it."""

    exports: Sequence[Path]
    dev: Sequence[Path]
    dev_share: float
    reading: ReadOptions
    name: str
    resume: bool
    promote: bool
    store: Store


@dataclass(frozen=True, slots=True)
class Trade:
    """How a tier is trained.

    Attributes:
        tier: Its name.
        recipe: What to do.
        train: As `training.encoder.train_encoder`.
        publish: As `training.publish.publish_encoder`.
    """

    tier: str
    recipe: "Recipe | LLMRecipe"
    train: Callable[..., Any]
    publish: Callable[..., Any]


def given(**settings: Any) -> Mapping[str, Any]:
    """What was asked for on the command line.

    Args:
        **settings: Those that are None were not, and are left to the recipe.

    Returns:
        The others.
    """
    return {name: value for name, value in settings.items() if value is not None}


def manifest_like(store: Store, reference: str, *, tier: str) -> Manifest:
    """What is known of the version whose recipe is asked for.

    Args:
        store: Where it is.
        reference: What it is called.
        tier: That is to be trained.

    Returns:
        Its manifest.

    Raises:
        InputError: If it is of another tier.
        StoreError: If there is none of that name, or it is not whole.
    """
    manifest = read_manifest(store.resolve(reference))
    if manifest.tier != tier:
        raise InputError(
            f"version {manifest.version} is of tier {manifest.tier!r}, and its recipe makes no "
            f"{tier} version: name one of that tier"
        )
    return manifest


def train_version(trade: Trade, assignment: Assignment) -> Manifest | None:
    """Read, train, publish and promote, telling how it goes on stderr.

    Args:
        trade: How.
        assignment: What.

    Returns:
        The new version's manifest; None on a process that only helps another one.
    """
    sides, talk = prepare(trade, assignment)
    state_path = unfinished(trade, assignment.store, sides)
    with held([state_path], resume=assignment.resume, talk=talk):
        trained = learn(trade, assignment, sides, state_path=state_path, talk=talk)
        if not trained.is_main:
            return None
        manifest: Manifest
        manifest, _ = trade.publish(trained, sides, store=assignment.store, name=assignment.name)
        if trade.tier == DEFAULT_TIER and (
            said := engine_of(assignment.store.folder(trade.tier, manifest.version), sides)
        ):
            talk.print(said, markup=False, soft_wrap=True)
        conclude(trade, assignment, trained, manifest, states=[state_path], talk=talk)
    return manifest


def prepare(trade: Trade, assignment: Assignment) -> tuple[Sides, Console]:
    """Read both sides and say what there is, which a process that only helps leaves to others."""
    from training.loop import start_accelerator

    checked_name(assignment.name)  # before an hour of training, not after it
    speaks = start_accelerator(trade.recipe.schedule).is_main_process
    talk = errors if speaks else Console(quiet=True)
    corpus = read_corpus(assignment.exports, assignment.reading)
    judge = read_corpus(assignment.dev, assignment.reading) if assignment.dev else None
    sides = choose_sides(corpus, judge, dev_share=assignment.dev_share)
    talk.print(describe_sides(sides, corpus, judge), soft_wrap=True)
    return sides, talk


@contextmanager
def held(states: Sequence[Path], *, resume: bool, talk: Console) -> Iterator[None]:
    """Lock states: one of the processes that train together does it for all of them."""
    from training.state import alone

    with ExitStack() as locks:
        for state_path in () if talk.quiet else states:
            locks.enter_context(alone(state_path))
        if resume and not any(state_path.is_file() for state_path in states):
            talk.print(
                "Nothing to resume: no training of this recipe on these documents was stopped."
            )
        yield


def learn(
    trade: Trade, assignment: Assignment, sides: Sides, *, state_path: Path, talk: Console
) -> Any:
    """Train, showing how it goes; nobody else has the state meanwhile."""
    with progress_bar(talk) as report:
        return trade.train(
            sides.train,
            sides.dev,
            labels=sides.labels,
            recipe=trade.recipe,
            state_path=state_path,
            resume=assignment.resume,
            report=report,
        )


def conclude(
    trade: Trade,
    assignment: Assignment,
    trained: Any,
    manifest: Manifest,
    *,
    states: Sequence[Path],
    talk: Console,
    worse: bool = False,
) -> None:
    """Make a version current unless it is worse, forget what led to it, and say what it is."""
    from training.state import forget_state

    # A version that finds nothing right takes no other's place, whatever was asked for.
    promoted = assignment.promote and not worse and bool(manifest.scores["dev"]["strict_f1"])
    if promoted:
        assignment.store.promote(trade.tier, manifest.version)
    for state_path in states:
        forget_state(state_path)
    talk.print(describe_version(manifest, trained.lost, promoted=promoted), soft_wrap=True)


def unfinished(trade: Trade, store: Store, sides: Sides) -> Path:
    """Where a stopped training leaves its state: one place for each recipe and data.

    Args:
        trade: How it is trained.
        store: Where it will be published.
        sides: What it is made from.

    Returns:
        A hidden file beside the tier's versions.
    """
    more = [sides.silver.fingerprint if sides.silver else "", sides.start]
    data = [sides.labels, sides.fingerprint, *filter(None, more)]
    what = json.dumps([asdict(trade.recipe), *data], sort_keys=True)
    key = hashlib.sha256(what.encode()).hexdigest()[:16]
    return store.home(trade.tier) / f".training-{key}"


@contextmanager
def progress_bar(talk: Console) -> Iterator["Callable[[Standing], None]"]:
    """A bar with loss, dev F1 and time left, and a line for each epoch that has ended.

    Args:
        talk: Where it is drawn.

    Yields:
        What a training reports to.
    """
    columns = ("[progress.description]{task.description}", "{task.fields[figures]}")
    with Progress(
        TextColumn(columns[0]), BarColumn(), TextColumn(columns[1]), console=talk, transient=True
    ) as bar:
        task = bar.add_task("Loading", total=None, figures="")

        def report(now: "Standing") -> None:
            best = f"dev F1 {max(now.scores):.4f}, " if now.scores else ""
            left = timedelta(seconds=round(now.seconds_left))
            bar.update(
                task,
                description=f"Epoch {now.epoch} of {now.epochs}",
                completed=now.step,
                total=now.steps,
                figures=f"loss {now.loss:.4f}, {best}{left} left",
            )
            if len(now.scores) == now.epoch:  # it was judged just now
                bar.console.print(
                    f"Epoch {now.epoch} of {now.epochs}: loss {now.loss:.4f}, "
                    f"dev F1 {now.scores[-1]:.4f}, {left} left at most"
                )

        yield report
