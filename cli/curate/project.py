"""Options of ``tagalong curate`` and its sources: files, or a Label Studio project."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tagalong.backend.formats.file_format import ReadOptions
from tagalong.backend.formats.registry import describe_formats
from tagalong.cli.terminal.console import error_console, print_warning
from tagalong.cli.terminal.options import LABEL_STUDIO_KEY_OPTION, LABEL_STUDIO_URL_OPTION
from tagalong.ner.errors import InputError, OutputError
from tagalong.ner.text_sanitizing import to_single_line
from tagalong.training.corpus import Corpus, read_corpus

if TYPE_CHECKING:  # takes a second to import
    from tagalong.training.curate.project import CuratedProject

OptionalExportsArgument = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="EXPORT...",
        exists=True,
        dir_okay=False,
        help=f"Annotated documents: {describe_formats('annotations')}.",
    ),
]
ProjectOption = Annotated[
    int | None,
    typer.Option(
        min=1, help=("Project id, instead of files: the number in the project's address.")
    ),
]
UrlOption = Annotated[str | None, LABEL_STUDIO_URL_OPTION]
ApiKeyOption = Annotated[str | None, LABEL_STUDIO_KEY_OPTION]
TabOption = Annotated[
    bool,
    typer.Option(
        "--create-view", help=("Create a Data Manager tab with the listed tasks (with --project).")
    ),
]


def check_new_file(path: Path | None) -> None:
    """Refuse an existing output file, before hours of work rather than after."""
    if path is not None and path.exists():
        raise OutputError(f"{path} already exists: choose another name", code="file-exists")


def warn(sentence: str) -> None:
    """Print a warning that may contain text of a document, on one line."""
    print_warning(to_single_line(sentence))


@contextmanager
def open_annotated_corpus(
    exports: Sequence[Path] | None,
    project: int | None,
    url: str | None,
    key: str | None,
    options: ReadOptions,
) -> Iterator[tuple[Corpus, "CuratedProject | None"]]:
    """Read annotated documents from files or from a project.

    Args:
        exports: Files.
        project: Project id, instead of files.
        url: Address of Label Studio.
        key: API token.
        options: How to read files; a project has its own labeling config.

    Yields:
        The corpus, and the project if there is one.

    Raises:
        BadParameter: If neither files nor a project are given, or both.
        InputError: If nothing is annotated, or it cannot be read.
    """
    if (project is None) == (not exports):
        raise typer.BadParameter("give either files or --project")
    if project is None:
        with error_console.status("Reading"):
            corpus = read_corpus(list(exports or ()), options)
        yield corpus, None
        return
    with open_project(project, url, key) as curated_project:
        with error_console.status("Reading"):
            annotated = curated_project.read_annotated_corpus(options.annotator_policy)
        if annotated is None:
            raise InputError(
                f"project {project} has no annotated tasks: annotate some first",
                code="project-without-annotations",
            )
        yield annotated, curated_project


@contextmanager
def open_project(project: int, url: str | None, key: str | None) -> Iterator["CuratedProject"]:
    """Connect to a project.

    Args:
        project: Project id.
        url: Address of Label Studio.
        key: API token.

    Yields:
        The project.

    Raises:
        BadParameter: If address or token are missing.
        LabelStudioError: If Label Studio is unreachable, or has no such project.
        FormatError: If the labeling config cannot be used.
    """
    from tagalong.backend.label_studio.api.retries import RateLimitedRetry
    from tagalong.backend.label_studio.connected_project import connect_project
    from tagalong.training.curate.project import CuratedProject

    if not url or not key:
        raise typer.BadParameter(
            "--project needs --label-studio-url and --label-studio-key, or the environment "
            "variables LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY"
        )
    with connect_project(url, key, project, RateLimitedRetry(notify=warn)) as connected:
        yield CuratedProject(connected, warn)
