"""Options that several commands share, and the conversion of their values."""

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tagalong.backend.annotations.annotators import SelectableAnnotatorPolicy
from tagalong.backend.formats.columns import ColumnOptions
from tagalong.backend.formats.file_format import ReadOptions
from tagalong.backend.storage.model_store import ModelStore
from tagalong.cli.terminal.console import print_warning
from tagalong.ner.length_buckets import LengthUnit

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from tagalong.backend.models.tagger import DocumentTagger

MAX_SEED = 2**32 - 1  # what numpy takes, and torch with it

AnnotatorsOption = Annotated[
    SelectableAnnotatorPolicy,
    typer.Option(
        help=(
            "If several people annotated a task, use spans that over half of them drew "
            "(majority), the last annotation (latest), or one document per annotator (all)."
        )
    ),
]
LabelConfigOption = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="Labelling config of the project, an XML file."),
]
WordColumnOption = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Column of words in CoNLL files: its number, from 1, or its name in the header.",
        show_default="found by content",
    ),
]
TagColumnOption = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Column of tags in CoNLL files: its number, from 1, or its name in the header.",
        show_default="found by content",
    ),
]
EntityLabelOption = Annotated[
    str | None,
    typer.Option(
        metavar="LABEL",
        help="Label of entities in CoNLL files whose tags are B, I and O alone.",
        show_default="the only label of the labelling config, or Entity",
    ),
]
LengthByOption = Annotated[
    LengthUnit,
    typer.Option(
        help='Unit of entity lengths: words ("IL-2" has 3), or tokens between blanks (it is one).'
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
ModelsOption = Annotated[
    Path,
    typer.Option(metavar="DIR", envvar="TAGALONG_MODELS", help="Folder of the model versions."),
]
ReportOption = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="DIR",
        file_okay=False,
        help="Write report.html, report.md and report.json into this folder.",
    ),
]

ALLOWED_HOSTS_OPTION = typer.Option(
    envvar="TAGALONG_ALLOWED_HOSTS",
    help=("Hosts from which to download texts if tasks contain URLs, separated by commas."),
)
LABEL_STUDIO_URL_OPTION = typer.Option(
    "--label-studio-url",
    envvar="LABEL_STUDIO_URL",
    help="Address of Label Studio, as in the browser.",
)
LABEL_STUDIO_KEY_OPTION = typer.Option(
    "--label-studio-key",
    envvar="LABEL_STUDIO_API_KEY",
    help=("API token of Label Studio, personal or legacy; better set in the environment."),
)
LabelStudioProjectOption = Annotated[
    int, typer.Option(min=1, help="Project id: the number in the project's address.")
]


def check_finite(value: float | None) -> float | None:
    """Refuse a number that JSON cannot hold: an infinite one, or NaN."""
    if value is not None and not isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number: give one that is")
    return value


CostPerHourOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        callback=check_finite,
        help="Price of this machine per hour, for the cost estimate.",
    ),
]


def build_read_options(
    annotators: SelectableAnnotatorPolicy,
    label_config: Path | None,
    columns: ColumnOptions | None = None,
) -> ReadOptions:
    """Options for reading exports, with the labelling config parsed if there is one.

    Raises `InputError` if the config cannot be used.
    """
    columns = columns or ColumnOptions()
    if label_config is None:
        return ReadOptions(annotator_policy=annotators, columns=columns)
    # Takes most of a second to import, so only where there is a config to parse.
    from tagalong.backend.label_studio.label_config_parser import read_label_config

    config = read_label_config(label_config)
    return ReadOptions(annotator_policy=annotators, label_config=config, columns=columns)


def load_tagger_by_reference(
    store: ModelStore, reference: str, *, use_openvino: bool = False
) -> "DocumentTagger":
    """Load a version, with the default encoder as the drafter of an LLM.

    OpenVINO runs an encoder where `should_use_openvino` says so too. Raises `RegistryError` if
    there is no such version, or it is damaged; `BaseModelError` if the base of an adapter is
    missing.
    """
    from tagalong.backend.models.load import load_version
    from tagalong.backend.models.openvino.compile import should_use_openvino

    use_openvino = use_openvino and should_use_openvino()
    return load_version(store, reference, use_openvino=use_openvino, warn=print_warning)


def open_store(models: Path) -> ModelStore:
    """The store of model versions in a folder that may be missing, with the bundled versions."""
    from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER

    return ModelStore(models, bundled_root=BUNDLED_MODELS_FOLDER)
