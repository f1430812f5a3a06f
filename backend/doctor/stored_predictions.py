"""Whether the predictions stored in a project are of the version served, and ones it accepts."""

from collections.abc import Mapping, Sequence
from typing import Any

from label_studio_sdk.label_interface import LabelInterface

from tagalong.backend.doctor.context import DoctorContext
from tagalong.backend.doctor.finding import CheckResult, ok, pluralize, problem, warning
from tagalong.backend.label_studio.results import is_place
from tagalong.ner.errors import LabelStudioError

VALIDATION_FLAG = "fflag_feat_utc_210_prediction_validation_15082025"
PROBE_PREDICTIONS = [
    {"task": 0, "result": []}
]  # refused whatever the flag, in words that tell how it stands
RETRIEVE_REMEDY = "Select the tasks, and choose Actions, Retrieve Predictions"
MAX_LISTED_TASKS = 5  # tasks that a sentence names


def check_validation(case: DoctorContext) -> CheckResult:
    """Whether Label Studio validates predictions, and would refuse any of those it has."""
    is_on = _is_validation_on(case)
    flaws = _find_invalid_predictions(case)
    state = f"Label Studio's prediction validation is {'on' if is_on else 'off'}"
    if not flaws:
        return ok(f"{state}; the stored predictions that were looked at are valid.")
    named = ", ".join(list(flaws)[:MAX_LISTED_TASKS]) + (
        ", ..." if len(flaws) > MAX_LISTED_TASKS else ""
    )
    sentence = (
        f"{state}, and predictions of {pluralize(len(flaws), 'task')} are not valid ({named}): "
        f"{next(iter(flaws.values()))}."
    )
    remedy = (
        "Delete these predictions (select the tasks, Actions, Delete Predictions), and retrieve "
        "them anew from a backend that knows the labelling config."
    )
    if is_on:
        return problem(f"{sentence} Opening such a task may fail.", remedy)
    return warning(f"{sentence} They would be refused if it were on.", remedy)


def _is_validation_on(case: DoctorContext) -> bool:
    """Whether the flag is on; asked with a prediction for no task where flags are not shown."""
    try:
        flags = case.client.read_feature_flags() or {}
    except LabelStudioError as error:
        if error.kind != "foreign":  # a page that this release does not have
            raise
        flags = {}
    if VALIDATION_FLAG in flags:
        return flags[VALIDATION_FLAG]
    try:
        path = f"api/projects/{case.project.id}/import/predictions"
        case.client.connection.request_json("POST", path, body=PROBE_PREDICTIONS)
    except LabelStudioError as error:
        if error.kind != "refused":
            raise
        return "Prediction 0: Invalid task ID" in error.detail
    return False


def _find_invalid_predictions(case: DoctorContext) -> Mapping[str, str]:
    """What is wrong with a prediction of a task, by the task's id.

    Label Studio's own validator judges. What it says is not passed on: it quotes the document.
    """
    interface = LabelInterface(case.project.label_config)
    found: dict[str, str] = {}
    for task in case.tasks:
        for prediction in _read_predictions(task):
            judged = dict(prediction)
            if is_place(judged.get("score")):  # validated when a prediction is stored, not changed
                judged["score"] = 0.0
            if interface.validate_prediction(judged, return_errors=True):
                found.setdefault(
                    str(task["id"]), _describe_invalid_prediction(prediction, case.config.labels)
                )
    return found


def _describe_invalid_prediction(prediction: Mapping[str, Any], labels: Sequence[str]) -> str:
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


def _read_predictions(task: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The predictions of a task that come whole."""
    predictions = task.get("predictions") or ()
    return [prediction for prediction in predictions if isinstance(prediction, dict)]


def check_stored_versions(case: DoctorContext) -> CheckResult:
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
            f"of this one there are {current}, for {pluralize(case.project.task_count, 'task')}.",
            f"{RETRIEVE_REMEDY}, so that all are of one version.",
        )
    return ok(f"Stored: {pluralize(current, 'prediction')} of the version served.")
