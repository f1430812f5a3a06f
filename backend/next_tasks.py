"""Tasks in the order in which they should be annotated, as Label Studio understands it.

Uncertainty sampling serves the lowest score first, of the project's version. So the tasks that were
chosen get scores below any that a model gives, in their order, and below those of tasks that were
chosen earlier and are still to be annotated: these come next. With one annotator Label Studio
keeps to it exactly; with several it draws at random among all scored tasks, so a tab of the Data
Manager shows the chosen ones too: "Label all tasks" there keeps to the order for everybody.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from backend.batch.politeness import Politeness
from backend.label_studio import LabelConfig, prediction_to_item
from backend.remote.client import LabelStudio
from backend.remote.connection import PAGE
from backend.remote.objects import Sampling
from ner.document import Document, Prediction

LOWEST = 1e-3  # below it are the chosen tasks: a model would have to be unsure of every word
# Between two chosen tasks. Below what is left of earlier queues there is then room for a billion of
# them, while shares of that room would be too small for a double after some two hundred queues.
STEP = 1e-12
UNCERTAINTY: Sampling = "Uncertainty sampling"


@dataclass(frozen=True, slots=True)
class Chosen:
    """A task that is to be annotated soon.

    Attributes:
        document: Its text; its id is the task's.
        prediction: What the version says of it, in the labels of the project.
    """

    document: Document
    prediction: Prediction


def place_in_queue(rank: int, count: int, *, before: float) -> float:
    """The score of a task that was chosen.

    Args:
        rank: From 0, the first.
        count: How many were chosen.
        before: The score of what comes next when all of them are done.

    Returns:
        A score above 0 and below `before` that grows with the rank.
    """
    return before - min(STEP, before / (count + 1)) * (count - rank)


def queue(
    studio: LabelStudio,
    project: int,
    config: LabelConfig,
    chosen: Sequence[Chosen],
    *,
    version: str,
    title: str,
    polite: Politeness,
) -> int:
    """Have a project hand out tasks in an order.

    Args:
        studio: The Label Studio.
        project: Id of the project.
        config: Its labelling config.
        chosen: The tasks, the first first.
        version: That predicted them.
        title: Of the tab that shows them.
        polite: How to ask.

    Returns:
        Id of the tab.

    Raises:
        LabelStudioError: If Label Studio says no, or has been away for too long.
    """
    tasks = [int(one.document.id) for one in chosen]
    before = _lowest(studio, project, frozenset(tasks), version, polite)
    scores = {
        task: place_in_queue(rank, len(tasks), before=before) for rank, task in enumerate(tasks)
    }
    stored = dict(_stored(studio, project, list(scores), version, polite))
    for task, prediction in stored.items():
        polite.patiently(partial(studio.predictions.rescore, prediction, scores[task]))
    fresh = [
        {
            "task": task,
            **prediction_to_item(one.document, one.prediction, config),
            "score": scores[task],
        }
        for one in chosen
        if (task := int(one.document.id)) not in stored
    ]
    if fresh:
        polite.once(partial(studio.predictions.add, project, fresh))  # twice would be twice
    polite.patiently(
        partial(studio.update_project, project, model_version=version, sampling=UNCERTAINTY)
    )
    return polite.patiently(partial(studio.views.show, project, title, list(scores))).id


def _lowest(
    studio: LabelStudio, project: int, chosen: Collection[int], version: str, polite: Politeness
) -> float:
    """The lowest score of all other tasks, `LOWEST` at most: what one has annotated may go on."""
    lowest, last = LOWEST, 0
    while True:
        page = polite.patiently(partial(studio.tasks.after, project, last))
        others = (task for task in page if task.id not in chosen)
        of_others = (one for task in others for one in task.predictions)
        scores = (one.score for one in of_others if one.model_version == version)
        lowest = min([lowest, *(score for score in scores if score)])  # 0 is no score
        if len(page) < PAGE:
            return lowest
        last = page[-1].id


def _stored(
    studio: LabelStudio, project: int, tasks: Sequence[int], version: str, polite: Politeness
) -> Iterator[tuple[int, int]]:
    """Tasks that have a prediction of a version, and its id."""
    for start in range(0, len(tasks), PAGE):
        some = tasks[start : start + PAGE]
        for task in polite.patiently(partial(studio.tasks.named, project, some)):
            for one in task.predictions:
                if one.model_version == version:
                    yield task.id, one.id
