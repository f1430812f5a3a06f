"""Whether the predictions stored in a project are of the version served, and ones it accepts."""

from collections.abc import Mapping, Sequence
from typing import Any

from label_studio_sdk.label_interface import LabelInterface

from backend.doctor.case import Case
from backend.doctor.finding import Verdict, counted, ok, problem, warning
from backend.label_studio import is_place
from ner.errors import LabelStudioError

FLAG = "fflag_feat_utc_210_prediction_validation_15082025"
NO_TASK = [{"task": 0, "result": []}]  # refused whatever the flag, in words that tell how it stands
RETRIEVE = "Select the tasks, and choose Actions, Retrieve Predictions"
SHOWN = 5  # tasks that a sentence names


def check_validation(case: Case) -> Verdict:
    """Whether Label Studio validates predictions, and would refuse any of those it has."""
    is_on = _validates(case)
    flaws = _flaws(case)
    state = f"Label Studio's prediction validation is {'on' if is_on else 'off'}"
    if not flaws:
        return ok(f"{state}; the stored predictions that were looked at are valid.")
    named = ", ".join(list(flaws)[:SHOWN]) + (", ..." if len(flaws) > SHOWN else "")
    sentence = (
        f"{state}, and predictions of {counted(len(flaws), 'task')} are not valid ({named}): "
        f"{next(iter(flaws.values()))}."
    )
    remedy = (
        "Delete these predictions (select the tasks, Actions, Delete Predictions), and retrieve "
        "them anew from a backend that knows the labelling config."
    )
    if is_on:
        return problem(f"{sentence} Opening such a task may fail.", remedy)
    return warning(f"{sentence} They would be refused if it were on.", remedy)


def _validates(case: Case) -> bool:
    """Whether the flag is on; asked with a prediction for no task where flags are not shown."""
    try:
        flags = case.studio.feature_flags() or {}
    except LabelStudioError as error:
        if error.problem != "foreign":  # a page that this release does not have
            raise
        flags = {}
    if FLAG in flags:
        return flags[FLAG]
    try:
        path = f"api/projects/{case.project.id}/import/predictions"
        case.studio.connection.call("POST", path, body=NO_TASK)
    except LabelStudioError as error:
        if error.problem != "refused":
            raise
        return "Prediction 0: Invalid task ID" in error.detail
    return False


def _flaws(case: Case) -> Mapping[str, str]:
    """What is wrong with a prediction of a task, by the task's id.

    Label Studio's own validator judges. What it says is not passed on: it quotes the document.
    """
    interface = LabelInterface(case.project.label_config)
    found: dict[str, str] = {}
    for task in case.tasks:
        for prediction in _predictions(task):
            judged = dict(prediction)
            if is_place(judged.get("score")):  # validated when a prediction is stored, not changed
                judged["score"] = 0.0
            if interface.validate_prediction(judged, return_errors=True):
                found.setdefault(str(task["id"]), _flaw(prediction, case.config.labels))
    return found


def _flaw(prediction: Mapping[str, Any], labels: Sequence[str]) -> str:
    """What is most likely wrong with a prediction, without a word of its text."""
    regions = [region for region in prediction.get("result") or () if isinstance(region, dict)]
    values = [value for region in regions if isinstance(value := region.get("value"), dict)]
    given = {str(label) for value in values for label in value.get("labels") or ()}
    if foreign := sorted(given - {*labels}):
        return f"the labelling config has no label {', '.join(map(repr, foreign))}"
    score = prediction.get("score")
    if isinstance(score, int | float) and not 0 <= score <= 1:
        return f"the score {score:g} is not between 0 and 1"
    return "the control, the object or the type of a region is not that of the labelling config"


def _predictions(task: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The predictions of a task that come whole."""
    predictions = task.get("predictions") or ()
    return [prediction for prediction in predictions if isinstance(prediction, dict)]


def check_stored(case: Case) -> Verdict:
    """Whether the stored predictions are of the version served."""
    counts = case.version_counts
    total, served = sum(counts.values()), case.served_version
    if not total:
        return ok("No predictions are stored yet: they are made when a task is opened.")
    if not served:
        named = ", ".join(f"{version} ({count})" for version, count in counts.items())
        return ok(f"Stored predictions: {named}.")
    others = {version: count for version, count in counts.items() if version != served}
    named = ", ".join(f"{version} ({count})" for version, count in others.items())
    current = counts.get(served, 0)
    if others and current < case.project.task_count:
        return warning(
            f"Predictions of other versions than the one served, {served!r}, are stored: {named}; "
            f"of this one there are {current}, for {counted(case.project.task_count, 'task')}.",
            f"{RETRIEVE}, so that all are of one version.",
        )
    return ok(f"Stored: {counted(current, 'prediction')} of the version served.")
