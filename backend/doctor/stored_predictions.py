"""Checks of the stored predictions: their validity and their version."""

from collections.abc import Mapping, Sequence
from typing import Any

from label_studio_sdk.label_interface import LabelInterface

from tagalong.backend.doctor.context import DoctorContext
from tagalong.backend.doctor.finding import (
    DoctorFinding,
    list_some,
    ok,
    pluralize,
    problem,
    warning,
)
from tagalong.backend.label_studio.results import SPAN_TYPE, is_place, span_value
from tagalong.ner.errors import LabelStudioError

VALIDATION_FLAG = "fflag_feat_utc_210_prediction_validation_15082025"
PROBE_PREDICTIONS = [{"task": 0, "result": []}]  # always refused; the reason tells the flag
RETRIEVE_REMEDY = "Select the tasks, and choose Actions, Retrieve Predictions"


def check_validation(context: DoctorContext) -> DoctorFinding:
    """Whether Label Studio validates predictions, and would refuse a stored one."""
    is_on = _is_validation_on(context)
    invalid = _find_invalid_predictions(context)
    state = f"Label Studio's prediction validation is {'on' if is_on else 'off'}"
    if not invalid:
        return ok(f"{state}; the sampled predictions are valid.")
    sentence = (
        f"{state}, and predictions of {pluralize(len(invalid), 'task')} are not valid "
        f"({list_some([*invalid])}): {next(iter(invalid.values()))}."
    )
    remedy = (
        "Delete these predictions (select the tasks, Actions, Delete Predictions), and retrieve "
        "them again from a backend that knows the labelling config."
    )
    if is_on:
        return problem("invalid-predictions", f"{sentence} Opening such a task may fail.", remedy)
    sentence = f"{sentence} They would be refused if validation were on."
    return warning("invalid-predictions-unnoticed", sentence, remedy)


def _is_validation_on(context: DoctorContext) -> bool:
    try:
        flags = context.client.read_feature_flags() or {}
    except LabelStudioError as error:
        if error.kind != "foreign":  # this release has no such page
            raise
        flags = {}
    if VALIDATION_FLAG in flags:
        return flags[VALIDATION_FLAG]
    try:  # a legacy token sees no flags, so import a prediction for a task that does not exist
        path = f"api/projects/{context.project.id}/import/predictions"
        context.client.connection.request_json("POST", path, body=PROBE_PREDICTIONS)
    except LabelStudioError as error:
        if error.kind != "refused":
            raise
        return "Prediction 0: Invalid task ID" in error.detail
    return False


def _find_invalid_predictions(context: DoctorContext) -> Mapping[str, str]:
    """The reason why a prediction is invalid, by task id."""
    # Label Studio's own validator decides. Its messages are not shown: they quote the document.
    interface = LabelInterface(context.project.label_config)
    reasons: dict[str, str] = {}
    for task in context.tasks:
        for prediction in task.get("predictions") or ():
            if not isinstance(prediction, dict):
                continue  # some releases send ids only
            checked = dict(prediction)
            if is_place(checked.get("score")):  # Label Studio does not validate changed scores
                checked["score"] = 0.0
            if interface.validate_prediction(checked, return_errors=True):
                reasons.setdefault(
                    str(task["id"]), _describe_invalid_prediction(prediction, context.config.labels)
                )
    return reasons


def _describe_invalid_prediction(prediction: Mapping[str, Any], labels: Sequence[str]) -> str:
    """The most likely reason, without a word of the text."""
    regions = [region for region in prediction.get("result") or () if isinstance(region, dict)]
    given = {str(label) for region in regions for label in span_value(region).get(SPAN_TYPE) or ()}
    if foreign := sorted(given - {*labels}):
        return f"the labelling config has no label {', '.join(map(repr, foreign))}"
    score = prediction.get("score")
    if isinstance(score, int | float) and not 0 <= score <= 1:
        return f"the score {score:g} is not between 0 and 1"
    return "the control, the object or the type of a region is not that of the labelling config"


def check_stored_versions(context: DoctorContext) -> DoctorFinding:
    """Whether the stored predictions are of the served version."""
    counts = context.version_counts
    served = context.served_version
    if not counts:
        return ok(
            "No predictions are stored yet: Label Studio requests them when a task is opened."
        )
    others = [f"{version} ({count})" for version, count in counts.items() if version != served]
    named = ", ".join(others)
    if not served:
        return ok(f"Stored predictions: {named}.")
    current = counts.get(served, 0)
    tasks = pluralize(context.project.task_count, "task")
    # Older predictions are harmless once every task has one of the served version.
    if others and current < context.project.task_count:
        return warning(
            "other-versions-stored",
            f"Predictions of other versions than the served one, {served!r}, are stored: {named}; "
            f"of the served one there are {current}, for {tasks}.",
            f"{RETRIEVE_REMEDY}, so that all are of one version.",
        )
    return ok(f"Stored: {pluralize(current, 'prediction')} of the served version.")
