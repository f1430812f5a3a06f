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

from backend.batch.entries import Entry, State
from backend.batch.journal import BatchJournal
from backend.batch.politeness import Politeness, passes
from backend.batch.run import Item
from backend.label_map import LabelMap
from backend.label_studio import LabelConfig, prediction_to_item
from backend.remote.client import LabelStudio
from backend.remote.connection import PAGE
from backend.remote.objects import Task
from backend.task_text import TaskTexts
from ner.document import Document, Prediction
from ner.errors import InputError, LabelStudioError

TOGETHER = 500  # predictions in one request
EVERY = 60.0  # seconds after which fewer are sent too
TRIES = 3  # of a request that Label Studio fails on, before its predictions are sent by halves
SETTLED = 20.0  # seconds after which a request that nobody waits for has arrived or never will


class ProjectTasks:
    """Reads the tasks of a project, page by page, in the order of their ids.

    Args:
        studio: The Label Studio.
        project: Id of the project.
        config: Its labelling config.
        versions: Tasks that have a prediction of one of these are done.
        texts: Reads the tasks' texts.
        polite: How to ask.
        unlabelled: Leave out what somebody has annotated.
        view: Take only what this tab of the Data Manager shows as the batch begins.
    """

    def __init__(
        self,
        studio: LabelStudio,
        project: int,
        config: LabelConfig,
        *,
        versions: Sequence[str],
        texts: TaskTexts,
        polite: Politeness,
        unlabelled: bool = False,
        view: int | None = None,
    ) -> None:
        self._studio, self._project, self._config = studio, project, config
        self._versions, self._texts = frozenset(versions), texts
        self._polite, self._unlabelled = polite, unlabelled
        self._shown = (
            None
            if view is None
            else sorted(set(polite.patiently(lambda: studio.tasks.in_view(project, view))))
        )

    def count(self) -> int:
        """How many tasks there are to look at; fewer where only unlabelled ones are taken."""
        if self._shown is not None:
            return len(self._shown)
        return self._polite.patiently(lambda: self._studio.project(self._project)).task_count

    def __iter__(self) -> Iterator[Item]:
        """The tasks, from the first.

        Yields:
            An item for each task; one whose text cannot be read comes as what is wrong with it.

        Raises:
            LabelStudioError: If Label Studio says no, or has been away for too long.
        """
        tasks = self._tasks() if self._shown is None else self._tasks_shown()
        yield from map(self._item, tasks)

    def _tasks(self) -> Iterator[Task]:
        """All tasks, or all that nobody has annotated."""
        last = 0
        while True:
            ask = partial(self._studio.tasks.after, unlabelled=self._unlabelled)
            page = self._polite.patiently(partial(ask, self._project, last))
            yield from page
            if len(page) < PAGE:
                return
            last = page[-1].id

    def _tasks_shown(self) -> Iterator[Task]:
        """The tasks of the view that are still there."""
        shown = self._shown or []
        for start in range(0, len(shown), PAGE):
            some = shown[start : start + PAGE]
            yield from self._polite.patiently(
                partial(self._studio.tasks.named, self._project, some)
            )

    def _item(self, task: Task) -> Item:
        """A task, and whether anything is left to do for it."""
        key = str(task.id)
        done = any(one.model_version in self._versions for one in task.predictions)
        try:
            document = self._texts.document({"id": task.id, "data": task.data}, self._config)
        except InputError as error:
            return Item(task.id, key, None, str(error), done=done)
        return Item(task.id, key, document, done=done)


class ProjectTarget:
    """Stores predictions in a project.

    Args:
        studio: The Label Studio.
        project: Id of the project.
        config: Its labelling config.
        label_maps: From each tier's labels to the project's, by version.
        polite: How to ask.
        settled: Seconds after which a request that nobody waits for has arrived or never will.
    """

    def __init__(
        self,
        studio: LabelStudio,
        project: int,
        config: LabelConfig,
        label_maps: Mapping[str, LabelMap],
        *,
        polite: Politeness,
        settled: float = SETTLED,
    ) -> None:
        self._studio, self._project, self._config = studio, project, config
        self._label_maps, self._polite, self._settled = label_maps, polite, settled
        self._sent = self._doubted = time.monotonic()  # when last

    def written(self, document: Document, prediction: Prediction) -> str:
        """A prediction as Label Studio imports it, in the project's labels."""
        mapped = self._label_maps[prediction.version].apply(document, prediction)
        item = prediction_to_item(document, mapped, self._config)
        return json.dumps({"task": int(document.id), **item}, ensure_ascii=False)

    def recover(self, journal: BatchJournal) -> None:
        """Look what has become of what was on its way when the batch ended.

        Args:
            journal: Of the batch.

        Raises:
            LabelStudioError: If Label Studio says no, or has been away for too long.
        """
        while entries := journal.entries(State.SENDING, limit=TOGETHER):
            journal.move(self._missing(journal, entries), State.PREDICTED)

    def deliver(self, journal: BatchJournal, until: int) -> None:
        """Send what waits up to a place, if that is a request's worth, or has waited a while."""
        waiting = partial(journal.entries, State.PREDICTED, limit=TOGETHER, until=until)
        while len(entries := waiting()) == TOGETHER:
            self._send(journal, entries)
        if entries and time.monotonic() - self._sent >= EVERY:
            self._send(journal, entries)

    def ended(self, journal: BatchJournal, last: int) -> None:
        """Send nothing for tasks that are gone, or not asked for any more."""
        journal.forget_absent(last)

    def finish(self, journal: BatchJournal) -> None:
        """Send all that waits, and see to it that nothing has arrived twice."""
        while entries := journal.entries(State.PREDICTED, limit=TOGETHER):
            self._send(journal, entries)
        self.settle(journal)

    def settle(self, journal: BatchJournal) -> None:
        """See to it that nothing has arrived twice, once all that was sent has arrived.

        Args:
            journal: Of the batch.

        Raises:
            LabelStudioError: If Label Studio says no, or has been away for too long.
        """
        while entries := journal.in_doubt(limit=PAGE):
            self._wait()
            versions = {entry.key: entry.tier for entry in entries}
            there = {
                str(task.id)
                for task in self._look(entries)
                if self._remove(task, {versions[str(task.id)]}, keep=1)
            }
            journal.move([entry for entry in entries if entry.key in there], State.DELIVERED)
            journal.settle(entries)

    def _wait(self) -> None:
        """Wait until every request that nobody waits for has arrived or never will."""
        time.sleep(max(0.0, self._doubted + self._settled - time.monotonic()))

    def _retract(self, entries: Sequence[Entry]) -> None:
        """Remove what an earlier run has sent for tasks, which may be of another text."""
        if entries:
            self._wait()  # or it could arrive behind what is sent now
        for task in self._look(entries):
            self._remove(task, self._label_maps, keep=0)

    def _remove(self, task: Task, versions: Collection[str], *, keep: int) -> int:
        """Remove the predictions of versions but for the last few; how many there were."""
        ids = sorted(one.id for one in task.predictions if one.model_version in versions)
        for prediction in ids[: len(ids) - keep]:
            self._polite.patiently(partial(self._remove_one, prediction))
        return len(ids)

    def _remove_one(self, prediction: int) -> None:
        """Remove a prediction, which an earlier try may have done."""
        try:
            self._studio.predictions.remove(prediction)
        except LabelStudioError as error:
            if error.problem != "missing":
                raise

    def _send(self, journal: BatchJournal, entries: Sequence[Entry]) -> None:
        """Send predictions until each is stored or set aside."""
        self._retract([entry for entry in entries if entry.sent])
        parts = [list(entries)]
        while parts:
            part = parts.pop()
            left, reason = self._send_together(journal, part)
            if len(left) > 1:
                half = len(left) // 2
                parts += [left[half:], left[:half]]
            elif left:
                journal.move(left, State.ASIDE, because=reason)
        self._sent = time.monotonic()

    def _send_together(
        self, journal: BatchJournal, entries: list[Entry]
    ) -> tuple[list[Entry], str]:
        """Send predictions in one request: those that Label Studio did not store, and why."""
        reason = ""
        for _ in range(TRIES):
            items: list[dict[str, Any]] = [json.loads(entry.answer) for entry in entries]
            journal.move(entries, State.SENDING)
            try:
                send = partial(self._studio.predictions.add, self._project, items)
                created = self._polite.once(send)
            except LabelStudioError as error:
                if error.problem == "refused":  # of all, for one
                    journal.move(entries, State.PREDICTED)
                    return entries, f"Label Studio refused its prediction: {error.detail}"
                if not passes(error):
                    raise
                reason = f"Label Studio failed on its prediction: {error.detail or error}"
                self._doubted = time.monotonic()
                entries = self._missing(journal, entries)
                if not entries:
                    return [], ""
            else:
                if created == len(items):
                    journal.move(entries, State.DELIVERED)
                    return [], ""
                left = self._missing(journal, entries)
                return left, "Label Studio left its prediction out: the labelling config forbids it"
        return entries, reason

    def _missing(self, journal: BatchJournal, entries: Sequence[Entry]) -> list[Entry]:
        """Those that have not arrived; that the others have is noted."""
        there = {
            (str(task.id), one.model_version)
            for task in self._look(entries)
            for one in task.predictions
        }
        arrived = [entry for entry in entries if (entry.key, entry.tier) in there]
        journal.move(arrived, State.DELIVERED)
        return [entry for entry in entries if (entry.key, entry.tier) not in there]

    def _look(self, entries: Sequence[Entry]) -> Iterator[Task]:
        """The tasks of documents as the project has them now."""
        ids = [int(entry.key) for entry in entries]
        for start in range(0, len(ids), PAGE):
            some = ids[start : start + PAGE]
            yield from self._polite.patiently(
                partial(self._studio.tasks.named, self._project, some)
            )
