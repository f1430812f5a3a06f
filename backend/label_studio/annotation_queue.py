"""The order in which Label Studio hands out tasks for annotation.

Apart from ids and chance, Label Studio orders tasks only by the score of the prediction of the
project's version, lowest first ("uncertainty sampling"). Annotators see the same prediction, so no
other prediction can hold the order. The chosen tasks get scores below 0. Nobody mistakes -5.00% for
a confidence: it says that 5 tasks are left in the queue, this one included. The model's confidence
stays on each region.

With one annotator, Label Studio keeps the order. With several, its button "Label All Tasks" chooses
at random among the tasks with a prediction of the version. The button "Label Tasks As Displayed",
in the tab of the queue, keeps the order for everybody.
"""

from collections.abc import Collection, Sequence
from functools import partial

from tagalong.backend.label_studio.api.filters import filter_item, match_all
from tagalong.backend.label_studio.api.objects import StoredPrediction
from tagalong.backend.label_studio.api.resources import SCORE
from tagalong.backend.label_studio.connected_project import ConnectedProject
from tagalong.backend.label_studio.results import is_place, prediction_to_label_studio
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import LabelStudioError

PLACES = 100  # per score of 1: Label Studio shows percent, so each place is one percent
TAB = "Next (-1% = last)"  # the title explains the scores
# The queue at the time the tab is opened. A filter by ids would take one item per task: Label
# Studio needs two minutes to list 200 of them, and SQLite refuses 1,000.
IN_QUEUE = match_all(
    filter_item(SCORE, "less", 0), filter_item("completed_at", "empty", True, kind="Datetime")
)


def places(count: int) -> list[float]:
    """Scores of a queue, rising: the n-th task from the end gets -n/100."""
    return [(rank - count) / PLACES for rank in range(count)]


def queue_tasks(
    project: ConnectedProject, chosen: Sequence[tuple[Document, Prediction]], *, version: str
) -> int:
    """Let a project hand out tasks in this order, before the tasks of earlier queues.

    Task ids are document ids. Returns the id of the tab that shows the queue.

    Raises:
        LabelStudioError: If a request fails or is refused, or a prediction was not stored.
    """
    client, tasks = project.client, [int(document.id) for document, _ in chosen]
    waiting = _read_waiting(project, frozenset(tasks), version)
    stored = _read_prediction_ids(project, tasks, version)
    fresh = [
        {"task": task, **prediction_to_label_studio(document, prediction, project.config)}
        for task, (document, prediction) in zip(tasks, chosen, strict=True)
        if task not in stored
    ]
    if fresh:
        # Not repeated, because a repeat would store duplicates.
        project.retry.call_once(partial(client.predictions.add, project.id, fresh))
        stored |= _read_prediction_ids(project, [item["task"] for item in fresh], version)
    if missing := [task for task in tasks if task not in stored]:
        raise LabelStudioError(
            f"Label Studio did not store the predictions of {len(missing)} of {len(tasks)} tasks, "
            f"task {missing[0]} among them: run 'tagalong doctor --project {project.id}' to see "
            "why",
            "refused",
            code="predictions-not-stored",
        )
    # Label Studio refuses a new prediction with a score below 0, but accepts such a change.
    line = [*((stored[task], None) for task in tasks), *((one.id, one.score) for one in waiting)]
    for (prediction, old_score), score in zip(line, places(len(line)), strict=True):
        if old_score != score:
            project.retry.call(partial(client.predictions.update_score, prediction, score))
    project.call(client.update_project, model_version=version, sampling="Uncertainty sampling")
    return project.call(client.views.create_or_update, TAB, IN_QUEUE, columns=(SCORE,)).id


def _read_waiting(
    project: ConnectedProject, chosen: Collection[int], version: str
) -> list[StoredPrediction]:
    # The predictions of tasks in earlier queues that are not annotated yet, in order.
    waiting = (
        prediction
        for task in project.iterate_tasks()
        if not task.done and task.id not in chosen
        for prediction in task.predictions
        if prediction.model_version == version and is_place(prediction.score)
    )
    return sorted(waiting, key=lambda one: one.score or 0)


def _read_prediction_ids(
    project: ConnectedProject, tasks: Sequence[int], version: str
) -> dict[int, int]:
    # By task, of those with a prediction of the version.
    return {
        task.id: prediction.id
        for task in project.read_tasks(tasks)
        for prediction in task.predictions
        if prediction.model_version == version
    }
