"""A Label Studio project as what a batch reads, and as where its predictions go.

Each task gets one prediction. An answer that is on its way when the batch, the connection or Label
Studio ends may have arrived or not, or may still arrive: so before a task's is sent again, the
project is looked at, and once everything has been sent, what may have arrived twice is looked at
again and removed but for the last. Where a run sends what an earlier one has sent, because it may
be lost, was deleted, or is of a text that was edited meanwhile, whatever is there goes first.
"""

import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from tagalong.backend.batch.entry import DocumentState, JournalEntry
from tagalong.backend.batch.journal import BatchJournal
from tagalong.backend.batch.run import SourceItem
from tagalong.backend.label_studio.api.client import LabelStudioClient
from tagalong.backend.label_studio.api.connection import PAGE_SIZE
from tagalong.backend.label_studio.api.objects import Task
from tagalong.backend.label_studio.api.retries import RateLimitedRetry, is_transient
from tagalong.backend.label_studio.label_map import LabelMap
from tagalong.backend.label_studio.results import LabelConfig, prediction_to_label_studio
from tagalong.backend.label_studio.task_text import TaskTextReader
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import InputError, LabelStudioError

MAX_PREDICTIONS_PER_REQUEST = 500  # predictions in one request
SEND_INTERVAL_SECONDS = 60.0  # seconds after which fewer are sent too
MAX_ATTEMPTS = (
    3  # of a request that Label Studio fails on, before its predictions are sent by halves
)
MAX_IN_FLIGHT_SECONDS = (
    20.0  # seconds after which a request that nobody waits for has arrived or never will
)


class ProjectSource:
    """Reads the tasks of a project, page by page, in the order of their ids.

    Args:
        client: The Label Studio.
        project: Id of the project.
        config: Its labelling config.
        versions: Tasks that have a prediction of one of these are done.
        texts: Reads the tasks' texts.
        retry: How to ask.
        unlabeled_only: Leave out what somebody has annotated.
        view_id: Take only what this tab of the Data Manager shows as the batch begins.
    """

    def __init__(
        self,
        client: LabelStudioClient,
        project: int,
        config: LabelConfig,
        *,
        versions: Sequence[str],
        texts: TaskTextReader,
        retry: RateLimitedRetry,
        unlabeled_only: bool = False,
        view_id: int | None = None,
    ) -> None:
        self._client, self._project, self._config = client, project, config
        self._versions, self._texts = frozenset(versions), texts
        self._retry, self._unlabeled_only = retry, unlabeled_only
        self._view_task_ids = (
            None
            if view_id is None
            else sorted(set(retry.call(lambda: client.tasks.list_ids_in_view(project, view_id))))
        )

    def count_tasks(self) -> int:
        """How many tasks there are to look at; fewer where only unlabelled ones are taken."""
        if self._view_task_ids is not None:
            return len(self._view_task_ids)
        return self._retry.call(lambda: self._client.get_project(self._project)).task_count

    def __iter__(self) -> Iterator[SourceItem]:
        """The tasks, from the first.

        Yields:
            An item for each task; one whose text cannot be read comes as what is wrong with it.

        Raises:
            LabelStudioError: If Label Studio says no, or has been away for too long.
        """
        tasks = self._read_all_tasks() if self._view_task_ids is None else self._read_view_tasks()
        yield from map(self._make_item, tasks)

    def _read_all_tasks(self) -> Iterator[Task]:
        """All tasks, or all that nobody has annotated."""
        last = 0
        while True:
            ask = partial(self._client.tasks.list_after, unlabeled_only=self._unlabeled_only)
            page = self._retry.call(partial(ask, self._project, last))
            yield from page
            if len(page) < PAGE_SIZE:
                return
            last = page[-1].id

    def _read_view_tasks(self) -> Iterator[Task]:
        """The tasks of the view that are still there."""
        shown = self._view_task_ids or []
        for start in range(0, len(shown), PAGE_SIZE):
            some = shown[start : start + PAGE_SIZE]
            yield from self._retry.call(partial(self._client.tasks.list_by_id, self._project, some))

    def _make_item(self, task: Task) -> SourceItem:
        """A task, and whether anything is left to do for it."""
        key = str(task.id)
        done = any(one.model_version in self._versions for one in task.predictions)
        try:
            document = self._texts.read_document({"id": task.id, "data": task.data}, self._config)
        except InputError as error:
            return SourceItem(task.id, key, None, str(error), is_predicted=done)
        return SourceItem(task.id, key, document, is_predicted=done)


class ProjectSink:
    """Stores predictions in a project.

    Args:
        client: The Label Studio.
        project: Id of the project.
        config: Its labelling config.
        label_maps: From each tier's labels to the project's, by version.
        retry: How to ask.
        max_in_flight_seconds: Seconds after which a request that nobody waits for has arrived or never will.
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
        self._last_sent_at = self._last_uncertain_at = time.monotonic()  # when last

    def serialize(self, document: Document, prediction: Prediction) -> str:
        """A prediction as Label Studio imports it, in the project's labels."""
        mapped = self._label_maps[prediction.version].apply(document, prediction)
        item = prediction_to_label_studio(document, mapped, self._config)
        return json.dumps({"task": int(document.id), **item}, ensure_ascii=False)

    def recover(self, journal: BatchJournal) -> None:
        """Look what has become of what was on its way when the batch ended.

        Args:
            journal: Of the batch.

        Raises:
            LabelStudioError: If Label Studio says no, or has been away for too long.
        """
        while entries := journal.read_entries(
            DocumentState.SENDING, limit=MAX_PREDICTIONS_PER_REQUEST
        ):
            journal.set_state(self._find_undelivered(journal, entries), DocumentState.PREDICTED)

    def deliver(self, journal: BatchJournal, until_position: int) -> None:
        """Send what waits up to a place, if that is a request's worth, or has waited a while."""
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

    def on_source_end(self, journal: BatchJournal, last_position: int) -> None:
        """Send nothing for tasks that are gone, or not asked for any more."""
        journal.delete_absent(last_position)

    def finish(self, journal: BatchJournal) -> None:
        """Send all that waits, and see to it that nothing has arrived twice."""
        while entries := journal.read_entries(
            DocumentState.PREDICTED, limit=MAX_PREDICTIONS_PER_REQUEST
        ):
            self._send(journal, entries)
        self.remove_duplicates(journal)

    def remove_duplicates(self, journal: BatchJournal) -> None:
        """See to it that nothing has arrived twice, once all that was sent has arrived.

        Args:
            journal: Of the batch.

        Raises:
            LabelStudioError: If Label Studio says no, or has been away for too long.
        """
        while entries := journal.read_possible_duplicates(limit=PAGE_SIZE):
            self._wait_for_in_flight()
            versions = {entry.key: entry.version for entry in entries}
            there = {
                str(task.id)
                for task in self._read_tasks(entries)
                if self._delete_predictions(task, {versions[str(task.id)]}, keep=1)
            }
            journal.set_state(
                [entry for entry in entries if entry.key in there], DocumentState.DELIVERED
            )
            journal.mark_sent_once(entries)

    def _wait_for_in_flight(self) -> None:
        """Wait until every request that nobody waits for has arrived or never will."""
        time.sleep(
            max(0.0, self._last_uncertain_at + self._max_in_flight_seconds - time.monotonic())
        )

    def _delete_previous(self, entries: Sequence[JournalEntry]) -> None:
        """Remove what an earlier run has sent for tasks, which may be of another text."""
        if entries:
            self._wait_for_in_flight()  # or it could arrive behind what is sent now
        for task in self._read_tasks(entries):
            self._delete_predictions(task, self._label_maps, keep=0)

    def _delete_predictions(self, task: Task, versions: Collection[str], *, keep: int) -> int:
        """Remove the predictions of versions but for the last few; how many there were."""
        ids = sorted(one.id for one in task.predictions if one.model_version in versions)
        for prediction in ids[: len(ids) - keep]:
            self._retry.call(partial(self._delete_prediction, prediction))
        return len(ids)

    def _delete_prediction(self, prediction: int) -> None:
        """Remove a prediction, which an earlier try may have done."""
        try:
            self._client.predictions.remove(prediction)
        except LabelStudioError as error:
            if error.kind != "missing":
                raise

    def _send(self, journal: BatchJournal, entries: Sequence[JournalEntry]) -> None:
        """Send predictions until each is stored or set aside."""
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
        """Send predictions in one request: those that Label Studio did not store, and why."""
        reason = ""
        for _ in range(MAX_ATTEMPTS):
            items: list[dict[str, Any]] = [json.loads(entry.payload) for entry in entries]
            journal.set_state(entries, DocumentState.SENDING)
            try:
                send = partial(self._client.predictions.add, self._project, items)
                created = self._retry.call_once(send)
            except LabelStudioError as error:
                if error.kind == "refused":  # of all, for one
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
        """Those that have not arrived; that the others have is noted."""
        there = {
            (str(task.id), one.model_version)
            for task in self._read_tasks(entries)
            for one in task.predictions
        }
        arrived = [entry for entry in entries if (entry.key, entry.version) in there]
        journal.set_state(arrived, DocumentState.DELIVERED)
        return [entry for entry in entries if (entry.key, entry.version) not in there]

    def _read_tasks(self, entries: Sequence[JournalEntry]) -> Iterator[Task]:
        """The tasks of documents as the project has them now."""
        ids = [int(entry.key) for entry in entries]
        for start in range(0, len(ids), PAGE_SIZE):
            some = ids[start : start + PAGE_SIZE]
            yield from self._retry.call(partial(self._client.tasks.list_by_id, self._project, some))
