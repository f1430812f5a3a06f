"""Arguments and options of ``tagalong curate``."""

from pathlib import Path
from typing import Annotated

import typer

from tagalong.backend.formats.registry import describe_formats
from tagalong.cli.terminal.options import (
    ALLOWED_HOSTS_OPTION,
    LABEL_STUDIO_KEY_OPTION,
    LABEL_STUDIO_URL_OPTION,
    MAX_SEED,
)
from tagalong.training.curate.selection_options import StrategyName

# The source: files, or a Label Studio project.
OptionalExportsArgument = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="EXPORT...",
        exists=True,
        help=f"Annotated documents: {describe_formats('annotations')}.",
    ),
]
PoolArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="POOL",
        exists=True,
        help=f"Texts to select from: {describe_formats('texts')}, or a folder of text files "
        "(*.txt).",
    ),
]
LabeledOption = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="EXPORT",
        exists=True,
        help="Documents that are annotated already, in any annotation format; may be given again.",
    ),
]
ProjectOption = Annotated[
    int | None,
    typer.Option(min=1, help="Project id, instead of files: the number in the project's address."),
]
UrlOption = Annotated[str | None, LABEL_STUDIO_URL_OPTION]
ApiKeyOption = Annotated[str | None, LABEL_STUDIO_KEY_OPTION]
AllowedHostsOption = Annotated[str, ALLOWED_HOSTS_OPTION]

# What `select` chooses, and with which models.
SelectionModelOption = Annotated[
    str | None,
    typer.Option(
        help="Model or version.",
        show_default="that of the project, else the current encoder, else the bundled one",
    ),
]
StrategyOption = Annotated[
    StrategyName,
    typer.Option(
        help="Selection strategy; mixed: uncertainty, novelty and long entities; "
        "disagreement: needs --against."
    ),
]
CountOption = Annotated[int, typer.Option(min=1, help="Number of documents to select.")]
SecondModelOption = Annotated[
    str | None, typer.Option(metavar="MODEL", help="Second model, for the strategy disagreement.")
]
RandomShareOption = Annotated[
    float, typer.Option(min=0, max=1, help="Share selected at random, for unbiased evaluation.")
]
SelectionSeedOption = Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Random seed.")]

# What `review` compares annotations with.
FoldsOption = Annotated[
    int, typer.Option(min=2, help="Cross-validation folds; one model is trained per fold.")
]
ReviewModelOption = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="Use this model or version instead of cross-validation: fast, but it misses errors in "
        "documents it was trained on.",
    ),
]

# Where results go.
QueueOption = Annotated[
    bool,
    typer.Option(
        "--queue",
        help="Make Label Studio hand out the selected tasks in this order, with predictions "
        "(with --project).",
    ),
]
TabOption = Annotated[
    bool,
    typer.Option(
        "--create-view", help="Create a Data Manager tab with the listed tasks (with --project)."
    ),
]
SelectionOutOption = Annotated[
    Path | None,
    typer.Option(
        dir_okay=False,
        help="Output file, in this order: Label Studio tasks if it ends in .json, else JSON lines.",
    ),
]
FindingsOutOption = Annotated[
    Path | None, typer.Option(dir_okay=False, help="Output file for all findings, in JSON lines.")
]
TasksOutOption = Annotated[
    Path | None, typer.Option(dir_okay=False, help="Output file for all tasks, in JSON lines.")
]
FindingLimitOption = Annotated[int, typer.Option(min=1, help="Number of findings to show.")]
TaskLimitOption = Annotated[
    int, typer.Option(min=1, help="Number of tasks to show, least agreement first.")
]
