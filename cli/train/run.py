"""Options, progress bar and messages of the commands that train."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from tagalong.backend.formats.registry import describe_formats
from tagalong.backend.retraining.job import PromotionPolicy
from tagalong.cli.terminal.console import error_console
from tagalong.cli.terminal.options import MAX_SEED
from tagalong.cli.terminal.progress import training_progress_bar
from tagalong.cli.train.messages import describe_silver, describe_split, describe_version

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from tagalong.training.jobs.train_version import TrainedVersion, TrainJob

PrecisionName = Literal["auto", "bf16", "fp32"]
ExportsArgument = Annotated[
    list[Path],
    typer.Argument(
        exists=True,
        dir_okay=False,
        help=(f"Annotated documents to train on: {describe_formats('annotations')}."),
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
        "and is not worse than the baseline, if there is one."
    ),
]


def drop_none(**settings: Any) -> Mapping[str, Any]:
    """Settings that were given; the recipe has the defaults of the others."""
    return {name: value for name, value in settings.items() if value is not None}


def run_training(job: "TrainJob") -> "TrainedVersion | None":
    """Run a training with messages on stderr; None on a process that helps another one."""
    from tagalong.training.jobs.train_version import read_training_data, train_version

    data = read_training_data(job)
    # Of the processes that train together, one reports.
    console = error_console if data.is_main_process else Console(quiet=True)
    console.print(describe_split(data.split, data.corpus, data.dev_corpus), soft_wrap=True)
    if data.split.silver is not None:
        console.print(describe_silver(data.split.silver), soft_wrap=True)

    def show(message: str) -> None:
        console.print(message, markup=False, soft_wrap=True)

    with training_progress_bar(console) as on_progress:
        version = train_version(job, data, on_progress=on_progress, on_message=show)
    if version is not None:
        console.print(describe_version(version), soft_wrap=True)
    return version
