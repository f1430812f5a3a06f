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

from tagalong.backend.formats.file_format import ReadOptions
from tagalong.backend.formats.registry import describe_formats
from tagalong.backend.retraining.job import PromotionPolicy
from tagalong.backend.storage.model_store import ModelStore
from tagalong.cli.terminal.console import error_console
from tagalong.cli.terminal.openvino import compile_published_version
from tagalong.cli.terminal.options import MAX_SEED
from tagalong.cli.train.messages import describe_split, describe_version
from tagalong.ner.errors import InputError
from tagalong.ner.manifest import Manifest, read_manifest
from tagalong.ner.model_registry import DEFAULT_TIER, validate_name
from tagalong.training.corpus import read_corpus
from tagalong.training.data.train_dev_split import TrainDevSplit, split_train_dev

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from tagalong.training.recipes.recipe import EncoderRecipe, LLMRecipe
    from tagalong.training.recipes.schedule import TrainingProgress as Standing

PrecisionName = Literal["auto", "bf16", "fp32"]
ExportsArgument = Annotated[
    list[Path],
    typer.Argument(
        exists=True,
        dir_okay=False,
        help=(
            f"Annotated documents to train on: {describe_formats('annotations')}."
        ),
    ),
]
DevOption = Annotated[
    list[Path] | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        help="Development set, for early stopping.",
        show_default="a share of the exports",
    ),
]
DevShareOption = Annotated[
    float,
    typer.Option(min=0.01, max=0.9, help="Share of the documents held out as the development set."),
]
RevisionOption = Annotated[str | None, typer.Option(help="Commit or tag of the base model.")]
EpochsOption = Annotated[int | None, typer.Option(min=1, help="Maximum number of epochs.")]
PatienceOption = Annotated[
    int | None, typer.Option(min=1, help="Epochs without a better dev F1 before training stops.")
]
LearningRateOption = Annotated[float | None, typer.Option(min=0.0, help="Peak learning rate.")]
BatchTokensOption = Annotated[
    int | None, typer.Option(min=64, help="Tokens per optimizer step and process.")
]
RecipeFromOption = Annotated[
    str | None,
    typer.Option(
        metavar="VERSION",
        help=(
            "Reuse the base model and hyperparameters of this version; other settings are ignored."
        ),
    ),
]
SeedOption = Annotated[
    int, typer.Option(min=0, max=MAX_SEED, help="Random seed (data order, dropout, initial head).")
]
PrecisionOption = Annotated[
    PrecisionName,
    typer.Option(help=("Training precision; auto: bf16 where the hardware supports it.")),
]
VersionNameOption = Annotated[str, typer.Option(help="Prefix of the new version's name.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Resume an interrupted training run.")]
PromoteOption = Annotated[
    PromotionPolicy,
    typer.Option(
        help="When to make the new version the current one; auto: if it finds entities in dev "
        "and, with --silver, is not worse than the baseline."
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainJob:
    """What to learn from, what to stop by, and what to do with what comes of it."""

    export_files: Sequence[Path]
    dev_files: Sequence[Path]
    dev_share: float
    read_options: ReadOptions
    name: str
    resume: bool
    promotion_policy: PromotionPolicy
    store: ModelStore


@dataclass(frozen=True, slots=True)
class TierTrainer:
    """How a tier is trained.

    Attributes:
        tier: Its name.
        recipe: What to do.
        train: As `tagalong.training.encoder.train.train_encoder`.
        publish: As `tagalong.training.jobs.publish.publish_encoder`.
    """

    tier: str
    recipe: "EncoderRecipe | LLMRecipe"
    train: Callable[..., Any]
    publish: Callable[..., Any]


def drop_none(**settings: Any) -> Mapping[str, Any]:
    """What was asked for on the command line.

    Args:
        **settings: Those that are None were not, and are left to the recipe.

    Returns:
        The others.
    """
    return {name: value for name, value in settings.items() if value is not None}


def read_recipe_manifest(store: ModelStore, reference: str, *, tier: str) -> Manifest:
    """What is known of the version whose recipe is asked for.

    Args:
        store: Where it is.
        reference: What it is called.
        tier: That is to be trained.

    Returns:
        Its manifest.

    Raises:
        InputError: If it is of another tier.
        RegistryError: If there is none of that name, or it is not whole.
    """
    manifest = read_manifest(store.resolve(reference))
    if manifest.tier != tier:
        raise InputError(
            f"version {manifest.version} is of tier {manifest.tier!r}, and its recipe makes no "
            f"{tier} version: name one of that tier"
        )
    return manifest


def train_version(trainer: TierTrainer, train_job: TrainJob) -> Manifest | None:
    """Read, train, publish and promote, telling how it goes on stderr.

    Args:
        trainer: How.
        train_job: What.

    Returns:
        The new version's manifest; None on a process that only helps another one.
    """
    sides, talk = prepare_split(trainer, train_job)
    state_path = state_path_for(trainer, train_job.store, sides)
    with lock_states([state_path], resume=train_job.resume, console=talk):
        trained = run_training(trainer, train_job, sides, state_path=state_path, console=talk)
        if not trained.is_main:
            return None
        manifest: Manifest
        manifest, _ = trainer.publish(trained, sides, store=train_job.store, name=train_job.name)
        if trainer.tier == DEFAULT_TIER and (
            said := compile_published_version(
                train_job.store.version_folder(trainer.tier, manifest.version), sides
            )
        ):
            talk.print(said, markup=False, soft_wrap=True)
        finish_training(trainer, train_job, trained, manifest, states=[state_path], console=talk)
    return manifest


def prepare_split(trainer: TierTrainer, train_job: TrainJob) -> tuple[TrainDevSplit, Console]:
    """Read both sides and say what there is, which a process that only helps leaves to others."""
    from tagalong.training.loop.trainer import create_accelerator

    validate_name(train_job.name)  # before an hour of training, not after it
    speaks = create_accelerator(trainer.recipe.schedule).is_main_process
    talk = error_console if speaks else Console(quiet=True)
    corpus = read_corpus(train_job.export_files, train_job.read_options)
    judge = (
        read_corpus(train_job.dev_files, train_job.read_options) if train_job.dev_files else None
    )
    sides = split_train_dev(corpus, judge, dev_share=train_job.dev_share)
    talk.print(describe_split(sides, corpus, judge), soft_wrap=True)
    return sides, talk


@contextmanager
def lock_states(states: Sequence[Path], *, resume: bool, console: Console) -> Iterator[None]:
    """Lock states: one of the processes that train together does it for all of them."""
    from tagalong.training.loop.training_state import lock_training

    with ExitStack() as locks:
        for state_path in () if console.quiet else states:
            locks.enter_context(lock_training(state_path))
        if resume and not any(state_path.is_file() for state_path in states):
            console.print(
                "Nothing to resume: no training of this recipe on these documents was stopped."
            )
        yield


def run_training(
    trainer: TierTrainer,
    train_job: TrainJob,
    split: TrainDevSplit,
    *,
    state_path: Path,
    console: Console,
) -> Any:
    """Train, showing how it goes; nobody else has the state meanwhile."""
    with progress_bar(console) as report:
        return trainer.train(
            split.train,
            split.dev,
            labels=split.labels,
            recipe=trainer.recipe,
            state_path=state_path,
            resume=train_job.resume,
            report=report,
        )


def finish_training(
    trainer: TierTrainer,
    train_job: TrainJob,
    trained: Any,
    manifest: Manifest,
    *,
    states: Sequence[Path],
    console: Console,
    worse: bool = False,
) -> None:
    """Make a version current unless it is worse, forget what led to it, and say what it is."""
    from tagalong.training.loop.training_state import delete_state

    # By default, a version that finds nothing right replaces no other version.
    finds_entities = bool(manifest.scores["dev"]["strict_f1"])
    promoted = train_job.promotion_policy == "always" or (
        train_job.promotion_policy == "auto" and not worse and finds_entities
    )
    if promoted:
        train_job.store.promote(trainer.tier, manifest.version)
    for state_path in states:
        delete_state(state_path)
    console.print(describe_version(manifest, trained.lost, promoted=promoted), soft_wrap=True)


def state_path_for(trainer: TierTrainer, store: ModelStore, split: TrainDevSplit) -> Path:
    """Where a stopped training leaves its state: one place for each recipe and data.

    Args:
        trainer: How it is trained.
        store: Where it will be published.
        split: What it is made from.

    Returns:
        A hidden file beside the tier's versions.
    """
    more = [split.silver.fingerprint if split.silver else "", split.start]
    data = [split.labels, split.fingerprint, *filter(None, more)]
    what = json.dumps([asdict(trainer.recipe), *data], sort_keys=True)
    key = hashlib.sha256(what.encode()).hexdigest()[:16]
    return store.tier_folder(trainer.tier) / f".training-{key}"


@contextmanager
def progress_bar(console: Console) -> Iterator["Callable[[Standing], None]"]:
    """A bar with loss, dev F1 and time left, and a line for each epoch that has ended.

    Args:
        console: Where it is drawn.

    Yields:
        What a training reports to.
    """
    columns = ("[progress.description]{task.description}", "{task.fields[figures]}")
    with Progress(
        TextColumn(columns[0]), BarColumn(), TextColumn(columns[1]), console=console, transient=True
    ) as bar:
        task = bar.add_task("Loading", total=None, figures="")

        def report(now: "Standing") -> None:
            best = f"dev F1 {max(now.dev_scores):.4f}, " if now.dev_scores else ""
            left = timedelta(seconds=round(now.seconds_left))
            bar.update(
                task,
                description=f"Epoch {now.epoch} of {now.epochs}",
                completed=now.step,
                total=now.steps,
                figures=f"loss {now.loss:.4f}, {best}{left} left",
            )
            if len(now.dev_scores) == now.epoch:  # it was judged just now
                bar.console.print(
                    f"Epoch {now.epoch} of {now.epochs}: loss {now.loss:.4f}, "
                    f"dev F1 {now.dev_scores[-1]:.4f}, {left} left at most"
                )

        yield report
