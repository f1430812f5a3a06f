"""A Label Studio project as the source of a batch and as its sink.

Each task ends with one prediction. When the batch, the connection or Label Studio ends, a request
that was under way may have arrived, not have arrived, or still arrive. So the project is read
before a task's prediction is sent again. Once everything is sent, tasks that may have two
predictions are read once more, and all but the last are deleted. A prediction may be sent again,
because it was lost, deleted or of an older text; then the earlier one is deleted first.
"""

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tagalong.backend.batch.journal import BatchJournal, DocumentState, JournalEntry
from tagalong.backend.batch.models import BatchModels
from tagalong.backend.batch.prelabel import open_batch_journal, run_batch
from tagalong.backend.batch.source_and_sink import (
    PredictionSink,
    ProjectOptions,
    SourceAndSink,
    build_label_maps,
    compute_config_digest,
)
from tagalong.backend.documents.source_item import SourceItem
from tagalong.backend.label_studio.api.http_client import PAGE_SIZE
from tagalong.backend.label_studio.api.objects import Task
from tagalong.backend.label_studio.api.outage_retry import RateLimitedRetry, is_transient
from tagalong.backend.label_studio.connected_project import ConnectedProject, connect_project
from tagalong.backend.label_studio.label_map import LabelMap
from tagalong.backend.label_studio.plain_texts import make_project_text_reader
from tagalong.backend.label_studio.results import prediction_to_label_studio
from tagalong.backend.label_studio.shown_version import show_batch
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import InputError, LabelStudioError

MAX_PREDICTIONS_PER_REQUEST = 500
SEND_INTERVAL_SECONDS = 60.0  # after which fewer than that are sent too
MAX_ATTEMPTS = 3  # of a request that Label Studio fails on, before it is split in halves
MAX_IN_FLIGHT_SECONDS = 20.0  # after which an abandoned request has arrived or never will


@contextmanager
def open_project(
    options: ProjectOptions, models: BatchModels, *, notify: Callable[[str], None]
) -> Iterator[SourceAndSink]:
    """Make a batch's source and sink of a Label Studio project.

    `notify` gets sentences about waiting for Label Studio.

    Raises:
        LabelStudioError: If Label Studio refuses, or there is no such project.
        FormatError: If the project's labelling config cannot be used.
        BatchError: If the project has none of a model's labels.
    """
    retry = RateLimitedRetry(requests_per_second=options.requests_per_second, notify=notify)
    number = options.project
    with connect_project(options.url, options.key, number, retry) as project:
        url = project.client.url
        host = urlsplit(url).netloc.replace(":", "-")
        maps, notes = build_label_maps(models, project.config, f"project {number}")
        source = ProjectSource(project, options, versions=[model.version for model in models])
        yield SourceAndSink(
            source_name=f"project {number} of {url}",
            config_digest=compute_config_digest(project.config),
            output_kind="a project's predictions",
            items=source,
            total_items=source.count_tasks(),
            sink=ProjectSink(project, maps),
            destination=f"{url}/projects/{number}/data",
            journal_path=Path(f"tagalong-{host}-project-{number}.journal"),
            notes=notes,
            show=partial(show_batch, project, overwrite=options.replace_shown_version),
        )


def prelabel_next_tasks(
    models: BatchModels,
    options: ProjectOptions,
    count: int,
    *,
    journal: Path,
    notify: Callable[[str], None],
) -> int:
    """Predict a project's next tasks without annotations; return how many there were."""
    options = replace(options, unlabeled_only=True, replace_shown_version=True, max_tasks=count)
    with (
        open_project(options, models, notify=notify) as project,
        open_batch_journal(journal, project, models, notify=notify) as batch_journal,
    ):
        run_batch(batch_journal, project, models)
        project.show([models.first_pass.version])
        return sum(batch_journal.count_by_state().values())


class ProjectSource:
    """Reads the tasks of a project, page by page, in the order of their ids.

    Of a view, these are the tasks that it has as the batch begins. Tasks with a prediction of one
    of the versions are already predicted.
    """

    def __init__(
        self, project: ConnectedProject, options: ProjectOptions, *, versions: Collection[str] = ()
    ) -> None:
        self._project, self._options, self._versions = project, options, frozenset(versions)
        client, view_id = project.client, options.view_id
        self._texts = make_project_text_reader(client, options.allowed_hosts)
        # A task is on two pages of a tab if it was moved on by one that was added meanwhile.
        self._view_task_ids = (
            None
            if view_id is None
            else sorted(set(project.call(client.tasks.list_ids_in_view, view_id)))
        )

    def count_tasks(self) -> int:
        """Count the tasks; an upper bound where only unlabelled ones are read."""
        if self._view_task_ids is None:
            count = self._project.call(self._project.client.get_project).task_count
        else:
            count = len(self._view_task_ids)
        return count if self._options.max_tasks is None else min(count, self._options.max_tasks)

    def __iter__(self) -> Iterator[SourceItem]:
        """Read the tasks; one whose text cannot be read has the reason."""
        if self._view_task_ids is None:
            tasks = self._project.iterate_tasks(unlabeled_only=self._options.unlabeled_only)
        else:  # tasks deleted since the batch began are not in the answers
            tasks = self._project.read_tasks(self._view_task_ids)
        yield from map(self._make_item, islice(tasks, self._options.max_tasks))

    def _make_item(self, task: Task) -> SourceItem:
        key, document, error = str(task.id), None, ""
        is_predicted = any(one.model_version in self._versions for one in task.predictions)
        try:
            document = self._texts.read_document(
                {"id": task.id, "data": task.data}, self._project.config
            )
        except InputError as unreadable:
            error = str(unreadable)
        return SourceItem(task.id, key, document, error, is_predicted=is_predicted)


class ProjectSink(PredictionSink):
    """Stores predictions in a project."""

    def __init__(self, project: ConnectedProject, label_maps: Mapping[str, LabelMap]) -> None:
        self._project, self._label_maps = project, label_maps  # the maps by version
        self._last_sent_at = self._last_uncertain_at = time.monotonic()

    def serialize(self, document: Document, prediction: Prediction) -> str:
        """The prediction as Label Studio imports it, in the project's labels."""
        mapped = self._label_maps[prediction.version].apply(document, prediction)
        item = prediction_to_label_studio(document, mapped, self._project.config)
        return json.dumps({"task": int(document.id), **item}, ensure_ascii=False)

    def recover(self, journal: BatchJournal, *, is_reset: bool) -> None:
        """Find out which predictions arrived that an earlier run was sending when it ended."""
        while entries := journal.read_entries(
            DocumentState.SENDING, limit=MAX_PREDICTIONS_PER_REQUEST
        ):
            journal.set_state(self._find_undelivered(journal, entries), DocumentState.PREDICTED)
        if is_reset:  # the journal is about to forget which tasks may have two
            self._remove_duplicates(journal)

    def deliver(self, journal: BatchJournal, until_position: int) -> None:
        """Send waiting predictions in full requests, and fewer once they have waited a while."""
        waiting = partial(
            journal.read_entries,
            DocumentState.PREDICTED,
            limit=MAX_PREDICTIONS_PER_REQUEST,
            until_position=until_position,
        )
        while len(entries := waiting()) == MAX_PREDICTIONS_PER_REQUEST:
            self._send(journal, entries)
        if entries and time.monotonic() - self._last_sent_at >= SEND_INTERVAL_SECONDS:
            self._send(journal, entries)

    def finish(self, journal: BatchJournal) -> None:
        """Send every waiting prediction, then delete duplicates."""
        while entries := journal.read_entries(
            DocumentState.PREDICTED, limit=MAX_PREDICTIONS_PER_REQUEST
        ):
            self._send(journal, entries)
        self._remove_duplicates(journal)

    def _remove_duplicates(self, journal: BatchJournal) -> None:
        # Read only once all that was sent has arrived, or a second one could follow.
        while entries := journal.read_possible_duplicates(limit=PAGE_SIZE):
            self._wait_for_in_flight()
            versions = {entry.key: entry.version for entry in entries}
            arrived = {
                str(task.id)
                for task in self._read_tasks(entries)
                if self._delete_predictions(task, {versions[str(task.id)]}, keep=1)
            }
            delivered = [entry for entry in entries if entry.key in arrived]
            journal.set_state(delivered, DocumentState.DELIVERED)
            journal.mark_sent_once(entries)

    def _wait_for_in_flight(self) -> None:
        end = self._last_uncertain_at + MAX_IN_FLIGHT_SECONDS
        time.sleep(max(0.0, end - time.monotonic()))

    def _delete_previous(self, entries: Sequence[JournalEntry]) -> None:
        # The prediction of an earlier run may be of another text.
        if entries:
            self._wait_for_in_flight()  # or it could arrive after the new one
        for task in self._read_tasks(entries):
            self._delete_predictions(task, self._label_maps, keep=0)

    def _delete_predictions(self, task: Task, versions: Collection[str], *, keep: int) -> int:
        # All but the last few; returns how many there were.
        ids = sorted(one.id for one in task.predictions if one.model_version in versions)
        for prediction in ids[: len(ids) - keep]:
            self._project.retry.call(partial(self._delete_prediction, prediction))
        return len(ids)

    def _delete_prediction(self, prediction: int) -> None:
        # An earlier attempt may have deleted it, so a missing one is no error.
        try:
            self._project.client.predictions.remove(prediction)
        except LabelStudioError as error:
            if error.kind != "missing":
                raise

    def _send(self, journal: BatchJournal, entries: Sequence[JournalEntry]) -> None:
        # Halves find the predictions that Label Studio refuses: they alone fail.
        self._delete_previous([entry for entry in entries if entry.send_count])
        parts = [list(entries)]
        while parts:
            part = parts.pop()
            left, reason = self._send_batch(journal, part)
            if len(left) > 1:
                half = len(left) // 2
                parts += [left[half:], left[:half]]
            elif left:
                journal.set_state(left, DocumentState.FAILED, reason=reason)
        self._last_sent_at = time.monotonic()

    def _send_batch(
        self, journal: BatchJournal, entries: list[JournalEntry]
    ) -> tuple[list[JournalEntry], str]:
        # One request; returns the predictions that Label Studio did not store, and the reason.
        reason = ""
        for _ in range(MAX_ATTEMPTS):
            items: list[dict[str, Any]] = [json.loads(entry.payload) for entry in entries]
            journal.set_state(entries, DocumentState.SENDING)
            try:
                send = partial(self._project.client.predictions.add, self._project.id, items)
                created = self._project.retry.call_once(send)  # a repeat would store duplicates
            except LabelStudioError as error:
                if error.kind == "refused":  # the whole request, for one of them
                    journal.set_state(entries, DocumentState.PREDICTED)
                    return entries, f"Label Studio refused its prediction: {error.detail}"
                if not is_transient(error):
                    raise
                reason = f"Label Studio failed on its prediction: {error.detail or error}"
                self._last_uncertain_at = time.monotonic()
                entries = self._find_undelivered(journal, entries)
                if not entries:
                    return [], ""
            else:
                if created == len(items):
                    journal.set_state(entries, DocumentState.DELIVERED)
                    return [], ""
                left = self._find_undelivered(journal, entries)
                return left, "Label Studio left its prediction out: the labelling config forbids it"
        return entries, reason

    def _find_undelivered(
        self, journal: BatchJournal, entries: Sequence[JournalEntry]
    ) -> list[JournalEntry]:
        # The others become delivered.
        stored = {
            (str(task.id), one.model_version)
            for task in self._read_tasks(entries)
            for one in task.predictions
        }
        arrived = [entry for entry in entries if (entry.key, entry.version) in stored]
        journal.set_state(arrived, DocumentState.DELIVERED)
        return [entry for entry in entries if (entry.key, entry.version) not in stored]

    def _read_tasks(self, entries: Sequence[JournalEntry]) -> Iterator[Task]:
        return self._project.read_tasks([int(entry.key) for entry in entries])
