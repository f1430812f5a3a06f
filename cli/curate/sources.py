"""Sources and outputs of ``tagalong curate``: files, or a Label Studio project."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from tagalong.backend.formats.file_format import ReadOptions
from tagalong.backend.storage.atomic_files import write_atomically
from tagalong.cli.terminal.console import error_console, warn
from tagalong.ner.errors import InputError, OutputError
from tagalong.training.corpus import Corpus, read_corpus

if TYPE_CHECKING:  # takes a second to import
    from tagalong.training.curate.curated_project import CuratedProject


class ProjectAccess(NamedTuple):
    """A project, if one is given, and how to reach its texts."""

    id: int | None
    url: str | None
    key: str | None
    allowed_hosts: str  # separated by commas


def check_new_file(path: Path | None) -> None:
    """Refuse an existing output file, before hours of work rather than after."""
    if path is not None and path.exists():
        raise OutputError(f"{path} already exists: choose another name", code="file-exists")


def write_json_lines(objects: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Write a new file with one JSON object per line."""
    lines = (json.dumps(one, ensure_ascii=False) + "\n" for one in objects)
    write_atomically({path: lines}, overwrite=False)


def add_address(result: Mapping[str, Any], address: str) -> dict[str, Any]:
    """Add the address of a Data Manager tab, if there is one, to a JSON result."""
    return {**result, **({"shown": address} if address else {})}


@contextmanager
def open_annotated_corpus(
    exports: Sequence[Path] | None, project: ProjectAccess, options: ReadOptions
) -> Iterator[tuple[Corpus, "CuratedProject | None"]]:
    """Read annotated documents from files, or from a project with its own labelling config.

    Yields the corpus, and the project if there is one.
    """
    if (project.id is None) == (not exports):
        raise typer.BadParameter("give either files or --project")
    if project.id is None:
        with error_console.status("Reading"):
            corpus = read_corpus(list(exports or ()), options)
        yield corpus, None
        return
    with open_project(project) as curated_project:
        with error_console.status("Reading"):
            annotated = curated_project.read_annotated_corpus(options.annotator_policy)
        if annotated is None:
            raise InputError(
                f"project {project.id} has no annotated tasks: annotate some first",
                code="project-without-annotations",
            )
        yield annotated, curated_project


@contextmanager
def open_project(project: ProjectAccess) -> Iterator["CuratedProject"]:
    """Connect to a project, and read its labelling config."""
    from tagalong.backend.label_studio.api.outage_retry import RateLimitedRetry
    from tagalong.backend.label_studio.connected_project import connect_project
    from tagalong.backend.label_studio.fetch import parse_hosts
    from tagalong.training.curate.curated_project import CuratedProject

    if project.id is None or not project.url or not project.key:
        raise typer.BadParameter(
            "--project needs --label-studio-url and --label-studio-key, or the environment "
            "variables LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY"
        )
    with connect_project(
        project.url,
        project.key,
        project.id,
        RateLimitedRetry(notify=warn),
        allowed_hosts=parse_hosts(project.allowed_hosts),
    ) as connected:
        yield CuratedProject(connected, warn)
