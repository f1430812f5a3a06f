"""Tasks in the order in which they should be annotated, as Label Studio understands it.

Label Studio has one order for the tasks that it hands out, apart from ids and chance: the score of
the prediction of the project's version, lowest first ("uncertainty sampling"). It shows annotators
the same prediction, so an order cannot be kept in another one. The chosen tasks get scores below 0.
Nobody takes -5.00% for a confidence: it says that 5 tasks are left in the queue, this one included.
The model's own confidence stays on each region.

With one annotator, Label Studio keeps to the order. With several, its button "Label All Tasks"
chooses at random among the tasks with a prediction of the version; "Label Tasks As Displayed", in
the tab of the queue, keeps to the order for everybody.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from tagalong.backend.label_studio.api.client import LabelStudioClient
from tagalong.backend.label_studio.api.connection import PAGE_SIZE
from tagalong.backend.label_studio.api.filters import all_of, on
from tagalong.backend.label_studio.api.objects import Sampling, StoredPrediction
from tagalong.backend.label_studio.api.retries import RateLimitedRetry
from tagalong.backend.label_studio.api.views import SCORE
from tagalong.backend.label_studio.results import LabelConfig, is_place, prediction_to_label_studio
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import LabelStudioError

PLACES = 100  # in a score of 1: Label Studio shows scores in percent, so each place is one percent
TAB = "Next (-1% = last)"  # its title says what the scores in it are
UNCERTAINTY_SAMPLING: Sampling = "Uncertainty sampling"
# The queue as it is when the tab is opened. A filter by ids would take one item per task: Label
# Studio needs two minutes to list 200 of them, and SQLite refuses 1,000.
IN_QUEUE = all_of(on(SCORE, "less", 0), on("completed_at", "empty", True, kind="Datetime"))


@dataclass(frozen=True, slots=True)
class QueuedTask:
    """A task that is to be annotated soon.

    Attributes:
        document: Its text; its id is the task's.
        prediction: What the version says of it, in the labels of the project.
    """

    document: Document
    prediction: Prediction


def places(count: int) -> list[float]:
    """The scores of the tasks in a queue.

    Args:
        count: How many tasks there are.

    Returns:
        From the first task to the last, in rising order. Times -100, each is the number of tasks
        that are left, its own included.
    """
    return [(rank - count) / PLACES for rank in range(count)]


def queue_tasks(
    studio: LabelStudioClient,
    project: int,
    config: LabelConfig,
    chosen: Sequence[QueuedTask],
    *,
    version: str,
    retry: RateLimitedRetry,
) -> int:
    """Have a project hand out tasks in an order; tasks chosen earlier follow behind them.

    Args:
        studio: The Label Studio.
        project: Id of the project.
        config: Its labelling config.
        chosen: The tasks, the first first.
        version: That predicted them.
        retry: How to ask.

    Returns:
        Id of the tab that shows the queue.

    Raises:
        LabelStudioError: If Label Studio says no, or has been away for too long, or did not store
            a prediction.
    """
    tasks = [int(one.document.id) for one in chosen]
    waiting = _waiting(studio, project, frozenset(tasks), version, retry)
    stored = dict(_stored_predictions(studio, project, tasks, version, retry))
    fresh = [
        {
            "task": int(one.document.id),
            **prediction_to_label_studio(one.document, one.prediction, config),
        }
        for one in chosen
        if int(one.document.id) not in stored
    ]
    if fresh:
        retry.call_once(partial(studio.predictions.add, project, fresh))  # twice would be twice
        added = [int(item["task"]) for item in fresh]
        stored |= dict(_stored_predictions(studio, project, added, version, retry))
    if missing := [task for task in tasks if task not in stored]:
        raise LabelStudioError(
            f"Label Studio did not store the predictions of {len(missing)} of {len(tasks)} tasks, "
            f"task {missing[0]} among them: run 'tagalong doctor --project {project}' to see why",
            "refused",
        )
    # Label Studio takes no score below 0 with a new prediction, but changes a score to that.
    line = [*((stored[task], None) for task in tasks), *((one.id, one.score) for one in waiting)]
    for (prediction, now), score in zip(line, places(len(line)), strict=True):
        if now != score:
            retry.call(partial(studio.predictions.update_score, prediction, score))
    retry.call(
        partial(
            studio.update_project, project, model_version=version, sampling=UNCERTAINTY_SAMPLING
        )
    )
    show = partial(studio.views.create_or_update, project, TAB, IN_QUEUE, columns=(SCORE,))
    return retry.call(show).id


def _waiting(
    studio: LabelStudioClient,
    project: int,
    chosen: Collection[int],
    version: str,
    polite: RateLimitedRetry,
) -> list[StoredPrediction]:
    """The predictions of tasks chosen earlier that are still handed out, in their order."""
    found: list[StoredPrediction] = []
    last = 0
    while True:
        page = polite.call(partial(studio.tasks.list_after, project, last))
        others = (task for task in page if not task.done and task.id not in chosen)
        of_others = (one for task in others for one in task.predictions)
        found += (one for one in of_others if one.model_version == version and is_place(one.score))
        if len(page) < PAGE_SIZE:
            return sorted(found, key=lambda one: one.score or 0)
        last = page[-1].id


def _stored_predictions(
    studio: LabelStudioClient,
    project: int,
    tasks: Sequence[int],
    version: str,
    polite: RateLimitedRetry,
) -> Iterator[tuple[int, int]]:
    """Tasks that have a prediction of a version, and its id."""
    for start in range(0, len(tasks), PAGE_SIZE):
        some = tasks[start : start + PAGE_SIZE]
        for task in polite.call(partial(studio.tasks.list_by_id, project, some)):
            for one in task.predictions:
                if one.model_version == version:
                    yield task.id, one.id
