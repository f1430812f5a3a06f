"""A Label Studio project as what is curated: what is annotated, what is not, where it is shown."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tagalong.backend.annotations.annotators import AnnotatorPolicy
from tagalong.backend.formats.file_format import ReadOptions
from tagalong.backend.formats.registry import describe_formats
from tagalong.cli.terminal.console import error_console
from tagalong.cli.terminal.options import LABEL_STUDIO_KEY_OPTION, LABEL_STUDIO_URL_OPTION
from tagalong.ner.document import Document
from tagalong.ner.errors import InputError, TrainingError
from tagalong.ner.text_sanitizing import to_single_line
from tagalong.training.corpus import Corpus, read_corpus

if TYPE_CHECKING:  # these take a second to import
    from tagalong.backend.label_studio.api.client import LabelStudioClient
    from tagalong.backend.label_studio.api.retries import RateLimitedRetry
    from tagalong.backend.label_studio.results import LabelConfig
    from tagalong.backend.models.tier import Tier

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
ReportOption = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="DIR",
        file_okay=False,
        help=("Write report.html, report.md and report.json into this folder."),
    ),
]


@dataclass(frozen=True, slots=True)
class CuratedProject:
    """A project.

    Attributes:
        studio: The Label Studio.
        project: Its id.
        config: Its labelling config.
        retry: How to ask.
    """

    studio: "LabelStudioClient"
    project: int
    config: "LabelConfig"
    retry: "RateLimitedRetry"

    def read_annotated_corpus(self, annotators: AnnotatorPolicy = "majority") -> Corpus | None:
        """What has been annotated; None where nothing has.

        Args:
            annotators: Whose annotations to take.

        Returns:
            The documents, by the ids of their tasks.

        Raises:
            LabelStudioError: If Label Studio says no, or has been away for too long.
            InputError: If an annotation cannot be read.
        """
        from tagalong.training.jobs.project_data import fetch_annotated_tasks, write_tasks

        options = ReadOptions(annotator_policy=annotators, label_config=self.config)
        with tempfile.TemporaryDirectory() as folder:  # which its owner alone may enter
            path = Path(folder) / f"project-{self.project}.json"
            try:
                write_tasks(path, fetch_annotated_tasks(self.studio, self.project, self.retry))
            except TrainingError:  # nothing to learn from is nothing to curate
                return None
            return read_corpus([path], options)

    def read_unlabeled_documents(self) -> list[Document]:
        """The tasks that nobody has annotated; those that cannot be read are named and left out.

        Returns:
            Their documents, by the ids of the tasks.

        Raises:
            LabelStudioError: If Label Studio says no, or has been away for too long.
        """
        from tagalong.backend.batch.label_studio_project import ProjectSource
        from tagalong.backend.batch.source_and_sink import ProjectOptions
        from tagalong.backend.label_studio.task_text import TaskTextReader

        authorization = self.studio.connection.authorization_header
        texts = TaskTextReader(
            frozenset(), label_studio_url=self.studio.url, authorization=authorization
        )
        items = list(
            ProjectSource(
                self.studio,
                ProjectOptions(project=self.project, url="", key="", unlabeled_only=True),
                self.config,
                versions=(),
                texts=texts,
                retry=self.retry,
            )
        )
        if troubles := [item.read_error for item in items if item.document is None]:
            named = f"{len(troubles):,} tasks cannot be read, the first because: {troubles[0]}"
            error_console.print(to_single_line(named), style="yellow", markup=False, soft_wrap=True)
        return [item.document for item in items if item.document is not None]

    def queue_documents(self, documents: Sequence[Document], tier: "Tier") -> str:
        """Have the project hand out tasks in an order, pre-labelled.

        Args:
            documents: Of the tasks, the first first.
            tier: Predicts them; its version becomes that of the project.

        Returns:
            The address of the tab.

        Raises:
            LabelStudioError: If Label Studio says no, or has been away for too long.
        """
        from tagalong.backend.label_studio.annotation_queue import QueuedTask, queue_tasks
        from tagalong.training.jobs.project_data import predict_in_project_labels

        blank = [replace(document, spans=()) for document in documents]
        chosen = list(map(QueuedTask, blank, predict_in_project_labels(self.config, tier, blank)))
        tab = queue_tasks(
            *(self.studio, self.project, self.config, chosen),
            version=tier.version,
            retry=self.retry,
        )
        return self._tab_url(tab)

    def show_tasks_in_tab(self, tasks: Sequence[str], title: str) -> str:
        """Have a tab of the Data Manager show some tasks.

        Args:
            tasks: Their ids, or those of documents made from them.
            title: Of the tab.

        Returns:
            Its address.

        Raises:
            LabelStudioError: If Label Studio says no, or has been away for too long.
        """
        from tagalong.backend.label_studio.api.filters import MOST, tasks_of

        numbers = list(dict.fromkeys(int(task.partition("@")[0]) for task in tasks))
        if len(numbers) > MOST:
            error_console.print(
                f"The tab shows the first {MOST:,} of {len(numbers):,} tasks: Label Studio takes "
                "no more in one filter.",
                style="yellow",
            )
        show = partial(self.studio.views.create_or_update, self.project, title, tasks_of(numbers))
        return self._tab_url(self.retry.call(show).id)

    def _tab_url(self, tab: int) -> str:
        """Where a tab is."""
        return f"{self.studio.url}/projects/{self.project}/data?tab={tab}"


@contextmanager
def open_annotated_corpus(
    exports: Sequence[Path] | None,
    project: int | None,
    url: str | None,
    key: str | None,
    options: ReadOptions,
) -> Iterator[tuple[Corpus, CuratedProject | None]]:
    """What has been annotated, in files or in a project.

    Args:
        exports: The files.
        project: Id of the project, in place of files.
        url: Of Label Studio.
        key: A token.
        options: How to read annotations; a project has a labelling config of its own.

    Yields:
        The documents, and the project if it is one.

    Raises:
        BadParameter: If neither was named, or both.
        InputError: If nothing has been annotated, or it cannot be read.
    """
    if (project is None) == (not exports):
        raise typer.BadParameter("name exports, or a --project, and not both")
    if project is None:
        with error_console.status("Reading"):
            corpus = read_corpus(list(exports or ()), options)
        yield corpus, None
        return
    with open_project(project, url, key) as place:
        with error_console.status("Reading"):
            found = place.read_annotated_corpus(options.annotator_policy)
        if found is None:
            raise InputError(f"nobody has annotated a task of project {project} yet")
        yield found, place


@contextmanager
def open_project(project: int, url: str | None, key: str | None) -> Iterator[CuratedProject]:
    """Ask a project for what is curated.

    Args:
        project: Its id.
        url: Of Label Studio.
        key: A token.

    Yields:
        The project.

    Raises:
        BadParameter: If the address or the key was not given.
        LabelStudioError: If it cannot be asked, or there is no such project.
        FormatError: If its labelling config cannot be used.
    """
    from tagalong.backend.label_studio.api.client import connect
    from tagalong.backend.label_studio.api.retries import RateLimitedRetry
    from tagalong.backend.label_studio.config import parse_label_config

    if not url or not key:
        raise typer.BadParameter(
            "--project needs --label-studio-url and --label-studio-key, or LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY"
        )
    polite = RateLimitedRetry(notify=lambda said: error_console.print(said, style="yellow"))
    with connect(url, key) as studio:
        found = studio.get_project(project)
        yield CuratedProject(studio, project, parse_label_config(found.label_config), polite)
