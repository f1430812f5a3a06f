"""The order in which Label Studio hands out tasks for annotation.

Apart from ids and chance, Label Studio orders tasks only by the score of the prediction of the
project's version, lowest first ("uncertainty sampling"). Annotators see the same prediction, so no
other prediction can hold the order. The chosen tasks get scores below 0. Nobody mistakes -5.00% for
a confidence: it says that 5 tasks are left in the queue, this one included. The model's confidence
stays on each region.

With one annotator, Label Studio keeps the order. With several, its button "Label All Tasks" chooses
at random among the tasks with a prediction of the version. "Label Tasks As Displayed", in the tab
of the queue, keeps the order for everybody.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from tagalong.backend.label_studio.api.client import LabelStudioClient
from tagalong.backend.label_studio.api.connection import PAGE_SIZE
from tagalong.backend.label_studio.api.filters import all_of, on
from tagalong.backend.label_studio.api.objects import Sampling, StoredPrediction
from tagalong.backend.label_studio.api.resources import SCORE
from tagalong.backend.label_studio.api.retries import RateLimitedRetry
from tagalong.backend.label_studio.results import LabelConfig, is_place, prediction_to_label_studio
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import LabelStudioError

PLACES = 100  # per score of 1: Label Studio shows percent, so each place is one percent
TAB = "Next (-1% = last)"  # the title explains the scores
UNCERTAINTY_SAMPLING: Sampling = "Uncertainty sampling"
# The queue at the time the tab is opened. A filter by ids would take one item per task: Label
# Studio needs two minutes to list 200 of them, and SQLite refuses 1,000.
IN_QUEUE = all_of(on(SCORE, "less", 0), on("completed_at", "empty", True, kind="Datetime"))


@dataclass(frozen=True, slots=True)
class QueuedTask:
    """A task that is to be annotated soon.

    Attributes:
        document: The text of the task; its id is the task id.
        prediction: In the labels of the project.
    """

    document: Document
    prediction: Prediction


def places(count: int) -> list[float]:
    """The scores of the tasks in a queue, in rising order.

    Times -100, each score is the number of remaining tasks, its own task included.
    """
    return [(rank - count) / PLACES for rank in range(count)]


def queue_tasks(
    client: LabelStudioClient,
    project: int,
    config: LabelConfig,
    chosen: Sequence[QueuedTask],
    *,
    version: str,
    retry: RateLimitedRetry,
) -> int:
    """Let a project hand out tasks in this order, before the tasks of earlier queues.

    Args:
        client: The client.
        project: Project id.
        config: The project's labelling config.
        chosen: The tasks in order.
        version: The version that predicted them.
        retry: Rate limit and retries.

    Returns:
        Id of the tab that shows the queue.

    Raises:
        LabelStudioError: If a request fails or is refused, or a prediction was not stored.
    """
    tasks = [int(one.document.id) for one in chosen]
    waiting = _waiting(client, project, frozenset(tasks), version, retry)
    stored = dict(_stored_predictions(client, project, tasks, version, retry))
    fresh = [
        {
            "task": int(one.document.id),
            **prediction_to_label_studio(one.document, one.prediction, config),
        }
        for one in chosen
        if int(one.document.id) not in stored
    ]
    if fresh:
        # Not repeated, because a repeat would store duplicates.
        retry.call_once(partial(client.predictions.add, project, fresh))
        added = [int(item["task"]) for item in fresh]
        stored |= dict(_stored_predictions(client, project, added, version, retry))
    if missing := [task for task in tasks if task not in stored]:
        raise LabelStudioError(
            f"Label Studio did not store the predictions of {len(missing)} of {len(tasks)} tasks, "
            f"task {missing[0]} among them: run 'tagalong doctor --project {project}' to see why",
            "refused",
            code="predictions-not-stored",
        )
    # Label Studio refuses a new prediction with a score below 0, but accepts such a change.
    line = [*((stored[task], None) for task in tasks), *((one.id, one.score) for one in waiting)]
    for (prediction, old_score), score in zip(line, places(len(line)), strict=True):
        if old_score != score:
            retry.call(partial(client.predictions.update_score, prediction, score))
    retry.call(
        partial(
            client.update_project, project, model_version=version, sampling=UNCERTAINTY_SAMPLING
        )
    )
    show = partial(client.views.create_or_update, project, TAB, IN_QUEUE, columns=(SCORE,))
    return retry.call(show).id


def _waiting(
    client: LabelStudioClient,
    project: int,
    chosen: Collection[int],
    version: str,
    retry: RateLimitedRetry,
) -> list[StoredPrediction]:
    """The predictions of tasks in earlier queues that are not annotated yet, in order."""
    waiting: list[StoredPrediction] = []
    last = 0
    while True:
        page = retry.call(partial(client.tasks.list_after, project, last))
        others = (task for task in page if not task.done and task.id not in chosen)
        predictions = (one for task in others for one in task.predictions)
        waiting += (
            one for one in predictions if one.model_version == version and is_place(one.score)
        )
        if len(page) < PAGE_SIZE:
            return sorted(waiting, key=lambda one: one.score or 0)
        last = page[-1].id


def _stored_predictions(
    client: LabelStudioClient,
    project: int,
    tasks: Sequence[int],
    version: str,
    retry: RateLimitedRetry,
) -> Iterator[tuple[int, int]]:
    """Tasks with a prediction of a version, and the id of the prediction."""
    for start in range(0, len(tasks), PAGE_SIZE):
        some = tasks[start : start + PAGE_SIZE]
        for task in retry.call(partial(client.tasks.list_by_id, project, some)):
            for one in task.predictions:
                if one.model_version == version:
                    yield task.id, one.id
