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
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tagalong.backend.batch.entry import DocumentState, JournalEntry
from tagalong.backend.batch.journal import BatchState
from tagalong.backend.batch.models import BatchModels
from tagalong.backend.batch.sink import PredictionSink
from tagalong.backend.batch.source_and_sink import (
    ProjectOptions,
    SourceAndSink,
    build_label_maps,
    compute_config_digest,
)
from tagalong.backend.documents.source_item import SourceItem
from tagalong.backend.label_studio.api.client import LabelStudioClient, connect
from tagalong.backend.label_studio.api.connection import PAGE_SIZE
from tagalong.backend.label_studio.api.objects import Task
from tagalong.backend.label_studio.api.retries import RateLimitedRetry, is_transient
from tagalong.backend.label_studio.config import parse_label_config
from tagalong.backend.label_studio.label_map import LabelMap
from tagalong.backend.label_studio.model_version import select_model_version
from tagalong.backend.label_studio.results import LabelConfig, prediction_to_label_studio
from tagalong.backend.label_studio.task_text import TaskTextReader
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

    Args:
        options: The project and its tasks.
        models: The models that predict.
        notify: Gets sentences about waiting for Label Studio.

    Yields:
        Source and sink, connected.

    Raises:
        LabelStudioError: If Label Studio refuses, or there is no such project.
        FormatError: If the project's labelling config cannot be used.
        BatchError: If the project has none of a model's labels.
    """
    retry = RateLimitedRetry(requests_per_second=options.requests_per_second, notify=notify)
    number = options.project
    with connect(options.url, options.key) as client:
        config = parse_label_config(client.get_project(number).label_config)
        maps, notes = build_label_maps(models, config, f"project {number}")
        source = ProjectSource(
            client,
            options,
            config,
            versions=[model.version for model in models],
            texts=TaskTextReader(
                options.allowed_hosts,
                label_studio_url=client.url,
                authorization=client.connection.authorization_header,
            ),
            retry=retry,
        )
        host = urlsplit(client.url).netloc.replace(":", "-")
        yield SourceAndSink(
            source_name=f"project {number} of {client.url}",
            config_digest=compute_config_digest(config),
            output_kind="a project's predictions",
            items=source,
            total_items=source.count_tasks(),
            sink=ProjectSink(client, number, config, maps, retry=retry),
            destination=f"{client.url}/projects/{number}/data",
            journal_path=Path(f"tagalong-{host}-project-{number}.journal"),
            notes=notes,
            show=lambda versions: select_model_version(
                client, number, versions, overwrite=options.replace_shown_version, retry=retry
            ),
        )


class ProjectSource:
    """Reads the tasks of a project, page by page, in the order of their ids.

    Args:
        client: A connection to Label Studio.
        options: The project and its tasks. Of a view, those that it has as the batch begins.
        config: The project's labelling config.
        versions: Tasks with a prediction of one of these versions are already predicted.
        texts: Reads the tasks' texts.
        retry: Repeats requests that fail for a while.
    """

    def __init__(
        self,
        client: LabelStudioClient,
        options: ProjectOptions,
        config: LabelConfig,
        *,
        versions: Sequence[str],
        texts: TaskTextReader,
        retry: RateLimitedRetry,
    ) -> None:
        self._client, self._project, self._config = client, options.project, config
        self._versions, self._texts = frozenset(versions), texts
        self._retry, self._unlabeled_only = retry, options.unlabeled_only
        project, view_id = options.project, options.view_id
        self._view_task_ids = (
            None
            if view_id is None
            else sorted(set(retry.call(lambda: client.tasks.list_ids_in_view(project, view_id))))
        )

    def count_tasks(self) -> int:
        """Count the tasks; an upper bound where only unlabeled ones are read."""
        if self._view_task_ids is not None:
            return len(self._view_task_ids)
        return self._retry.call(lambda: self._client.get_project(self._project)).task_count

    def __iter__(self) -> Iterator[SourceItem]:
        """Read the tasks.

        Yields:
            An item for each task; one whose text cannot be read has the reason.

        Raises:
            LabelStudioError: If Label Studio refuses, or is unreachable for too long.
        """
        tasks = self._read_all_tasks() if self._view_task_ids is None else self._read_view_tasks()
        yield from map(self._make_item, tasks)

    def _read_all_tasks(self) -> Iterator[Task]:
        last = 0
        while True:
            ask = partial(self._client.tasks.list_after, unlabeled_only=self._unlabeled_only)
            page = self._retry.call(partial(ask, self._project, last))
            yield from page
            if len(page) < PAGE_SIZE:
                return
            last = page[-1].id

    def _read_view_tasks(self) -> Iterator[Task]:
        # Tasks deleted since the batch began are not in the answers.
        ids = self._view_task_ids or []
        for start in range(0, len(ids), PAGE_SIZE):
            page = ids[start : start + PAGE_SIZE]
            yield from self._retry.call(partial(self._client.tasks.list_by_id, self._project, page))

    def _make_item(self, task: Task) -> SourceItem:
        key = str(task.id)
        is_predicted = any(one.model_version in self._versions for one in task.predictions)
        try:
            document = self._texts.read_document({"id": task.id, "data": task.data}, self._config)
        except InputError as error:
            return SourceItem(task.id, key, None, str(error), is_predicted=is_predicted)
        return SourceItem(task.id, key, document, is_predicted=is_predicted)


class ProjectSink(PredictionSink):
    """Stores predictions in a project.

    Args:
        client: A connection to Label Studio.
        project: The project's id.
        config: The project's labelling config.
        label_maps: For each version, its labels -> the project's.
        retry: Repeats requests that fail for a while.
        max_in_flight_seconds: After this time, an abandoned request has arrived or never will.
    """

    def __init__(
        self,
        client: LabelStudioClient,
        project: int,
        config: LabelConfig,
        label_maps: Mapping[str, LabelMap],
        *,
        retry: RateLimitedRetry,
        max_in_flight_seconds: float = MAX_IN_FLIGHT_SECONDS,
    ) -> None:
        self._client, self._project, self._config = client, project, config
        self._label_maps, self._retry, self._max_in_flight_seconds = (
            label_maps,
            retry,
            max_in_flight_seconds,
        )
        self._last_sent_at = self._last_uncertain_at = time.monotonic()

    def serialize(self, document: Document, prediction: Prediction) -> str:
        """The prediction as Label Studio imports it, in the project's labels."""
        mapped = self._label_maps[prediction.version].apply(document, prediction)
        item = prediction_to_label_studio(document, mapped, self._config)
        return json.dumps({"task": int(document.id), **item}, ensure_ascii=False)

    def recover(self, journal: BatchState, *, is_reset: bool) -> None:
        """Find out which predictions arrived that an earlier run was sending when it ended.

        Args:
            journal: The batch's journal.
            is_reset: Whether the journal is about to forget which tasks may have two.

        Raises:
            LabelStudioError: If Label Studio refuses, or is unreachable for too long.
        """
        while entries := journal.read_entries(
            DocumentState.SENDING, limit=MAX_PREDICTIONS_PER_REQUEST
        ):
            journal.set_state(self._find_undelivered(journal, entries), DocumentState.PREDICTED)
        if is_reset:
            self._remove_duplicates(journal)

    def deliver(self, journal: BatchState, until_position: int) -> None:
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

    def finish(self, journal: BatchState) -> None:
        """Send every waiting prediction, then delete duplicates."""
        while entries := journal.read_entries(
            DocumentState.PREDICTED, limit=MAX_PREDICTIONS_PER_REQUEST
        ):
            self._send(journal, entries)
        self._remove_duplicates(journal)

    def _remove_duplicates(self, journal: BatchState) -> None:
        # Read only once all that was sent has arrived, or a second one could follow.
        while entries := journal.read_possible_duplicates(limit=PAGE_SIZE):
            self._wait_for_in_flight()
            versions = {entry.key: entry.version for entry in entries}
            arrived = {
                str(task.id)
                for task in self._read_tasks(entries)
                if self._delete_predictions(task, {versions[str(task.id)]}, keep=1)
            }
            journal.set_state(
                [entry for entry in entries if entry.key in arrived], DocumentState.DELIVERED
            )
            journal.mark_sent_once(entries)

    def _wait_for_in_flight(self) -> None:
        time.sleep(
            max(0.0, self._last_uncertain_at + self._max_in_flight_seconds - time.monotonic())
        )

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
            self._retry.call(partial(self._delete_prediction, prediction))
        return len(ids)

    def _delete_prediction(self, prediction: int) -> None:
        # An earlier attempt may have deleted it, so a missing one is no error.
        try:
            self._client.predictions.remove(prediction)
        except LabelStudioError as error:
            if error.kind != "missing":
                raise

    def _send(self, journal: BatchState, entries: Sequence[JournalEntry]) -> None:
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
        self, journal: BatchState, entries: list[JournalEntry]
    ) -> tuple[list[JournalEntry], str]:
        # One request; returns the predictions that Label Studio did not store, and the reason.
        reason = ""
        for _ in range(MAX_ATTEMPTS):
            items: list[dict[str, Any]] = [json.loads(entry.payload) for entry in entries]
            journal.set_state(entries, DocumentState.SENDING)
            try:
                send = partial(self._client.predictions.add, self._project, items)
                created = self._retry.call_once(send)
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
        self, journal: BatchState, entries: Sequence[JournalEntry]
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
        ids = [int(entry.key) for entry in entries]
        for start in range(0, len(ids), PAGE_SIZE):
            page = ids[start : start + PAGE_SIZE]
            yield from self._retry.call(partial(self._client.tasks.list_by_id, self._project, page))
