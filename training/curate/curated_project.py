"""A Label Studio project as a source of documents to curate, and as the place to show results."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tagalong.backend.annotations.annotators import AnnotatorPolicy
from tagalong.backend.batch.label_studio_project import ProjectSource
from tagalong.backend.batch.source_and_sink import ProjectOptions
from tagalong.backend.formats.file_format import ReadOptions
from tagalong.backend.label_studio.annotation_queue import queue_tasks
from tagalong.backend.label_studio.api.filters import MAX_FILTER_ITEMS, filter_by_ids
from tagalong.backend.label_studio.connected_project import ConnectedProject
from tagalong.backend.label_studio.plain_texts import (
    make_project_text_reader,
    plain_text_config,
    with_plain_texts,
)
from tagalong.backend.models.tagger import DocumentTagger
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.document import Document
from tagalong.ner.errors import TrainingError
from tagalong.training.corpus import Corpus, read_corpus
from tagalong.training.jobs.project_data import (
    fetch_annotated_tasks,
    predict_in_project_labels,
    write_tasks,
)


@dataclass(frozen=True, slots=True)
class CuratedProject:
    """A Label Studio project whose annotations are curated.

    All methods that ask Label Studio raise `LabelStudioError` if it refuses or stays unreachable.
    """

    project: ConnectedProject
    warn: Callable[[str], None]  # takes a sentence for a problem that does not stop the work

    def read_annotated_corpus(self, annotators: AnnotatorPolicy) -> Corpus | None:
        """Read the annotated tasks, with task ids as document ids; None if there are none."""
        project, client, failures = self.project, self.project.client, list[str]()
        config = plain_text_config(project.config)
        options = ReadOptions(annotator_policy=annotators, label_config=config)
        with tempfile.TemporaryDirectory() as folder:  # only its owner has access
            path = Path(folder) / f"project-{project.id}.json"
            tasks = fetch_annotated_tasks(client, project.id, project.retry)
            texts = make_project_text_reader(client, project.allowed_hosts)
            read = with_plain_texts(tasks, project.config, texts, on_unreadable=failures.append)
            try:
                write_tasks(path, read)
            except TrainingError:  # no task is annotated
                return None
            self._warn_of_unreadable(failures)
            return read_corpus([path], options)

    def read_unlabeled_documents(self) -> list[Document]:
        """Read the tasks without annotations, and warn about unreadable ones."""
        options = ProjectOptions(
            project=self.project.id,
            url="",
            key="",
            allowed_hosts=self.project.allowed_hosts,
            unlabeled_only=True,
        )
        items = list(ProjectSource(self.project, options))
        self._warn_of_unreadable([item.read_error for item in items if item.document is None])
        return [item.document for item in items if item.document is not None]

    def _warn_of_unreadable(self, reasons: Sequence[str]) -> None:
        if reasons:
            self.warn(
                f"{pluralize(len(reasons), 'task')} cannot be read, the first because: {reasons[0]}"
            )

    def queue_documents(self, documents: Sequence[Document], tagger: DocumentTagger) -> str:
        """Make the project hand out tasks in this order, with predictions of `tagger`.

        Its version becomes the version of the project. Returns the address of the Data Manager tab.
        """
        blank = [replace(document, spans=()) for document in documents]
        predictions = predict_in_project_labels(self.project.config, tagger, blank)
        chosen = list(zip(blank, predictions, strict=True))
        return self._tab_url(queue_tasks(self.project, chosen, version=tagger.version))

    def show_tasks_in_tab(self, tasks: Sequence[str], title: str) -> str:
        """Show tasks, by their ids or those of their documents, in a tab; returns its address."""
        ids = list(dict.fromkeys(int(task.partition("@")[0]) for task in tasks))
        if len(ids) > MAX_FILTER_ITEMS:
            self.warn(
                f"The tab shows the first {MAX_FILTER_ITEMS:,} of {len(ids):,} tasks, the maximum "
                "of a filter in Label Studio."
            )
        create = self.project.client.views.create_or_update
        return self._tab_url(self.project.call(create, title, filter_by_ids(ids)).id)

    def _tab_url(self, tab: int) -> str:
        return f"{self.project.client.url}/projects/{self.project.id}/data?tab={tab}"
