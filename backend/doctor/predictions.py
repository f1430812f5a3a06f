"""Checks of predictions: their version, their labels, and the stored ones."""

from collections.abc import Mapping, Sequence
from typing import Any

from label_studio_sdk.label_interface import LabelInterface

from tagalong.backend.doctor.context import DoctorContext
from tagalong.backend.doctor.finding import (
    DoctorFinding,
    list_some,
    ok,
    problem,
    skipped,
    warning,
)
from tagalong.backend.label_studio.label_map import map_labels
from tagalong.backend.label_studio.results import SPAN_TYPE, is_place, span_value
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.errors import LabelStudioError

VALIDATION_FLAG = "fflag_feat_utc_210_prediction_validation_15082025"
PROBE_PREDICTIONS = [{"task": 0, "result": []}]  # always refused; the reason tells the flag
RETRIEVE_REMEDY = "Select the tasks, and choose Actions, Retrieve Predictions"


def check_version(context: DoctorContext) -> DoctorFinding:
    """Whether the title of the backend and the project's version name the served version."""
    # Label Studio shows and sorts by the scores of the version that the project names. When a task
    # is opened, it asks the backend only if the project names the backend's title.
    served, chosen = context.served_version, context.project.model_version
    title = context.backends[0].title
    if not served:
        return skipped("version-unknown", "The version that the backend serves is not known.")
    if title == chosen == served:
        return ok(f"Backend and project both name the served version, {served!r}.")
    rename = f"Rename the backend to {served} under Settings, Model, Edit"
    # Label Studio updates the project's version only when the title of its backend changes.
    if title == chosen:
        return problem(
            "outdated-title",
            f"The backend is called {title!r} and serves version {served!r}, so the score column "
            "stays empty, and uncertainty sampling serves tasks at random.",
            f"{context.connect_advice}, or r{rename[1:]}; the project follows."
            if context.is_tagalong
            else f"{rename}; the project follows.",
        )
    choose = f"{rename}, and choose" if title != served else "Choose"
    remedy = f"{choose} it under Settings, Annotation, Prelabeling."
    if stored := context.version_counts.get(chosen, 0):
        return warning(
            "shows-stored-predictions",
            f"The project shows {pluralize(stored, 'stored prediction')} of {chosen!r}, so the "
            f"backend, {title!r}, is not asked when a task is opened.",
            f"{remedy} Keep the setting if annotators are to see predictions made beforehand.",
        )
    shown = f"of {chosen!r}, of which none are stored" if chosen else "of no version"
    return problem(
        "shows-other-version",
        f"The project shows predictions {shown}, and not those of the backend, which is called "
        f"{title!r} and serves {served!r}.",
        remedy,
    )


def check_labels(context: DoctorContext) -> DoctorFinding:
    """Whether the project has a label for each label of the model."""
    labels = context.model_labels
    if not labels:
        is_loading = "The backend is still loading its model."
        is_foreign = "The backend does not tell the labels of its model."
        return skipped("labels-unknown", is_loading if context.is_tagalong else is_foreign)
    label_map = map_labels(labels, context.config)
    unmapped, names = label_map.unmapped, set(label_map.project_labels.values())
    # Labels that only people assign are fine, so they are mentioned without a warning.
    not_predicted = ""
    if label_map.unpredicted:
        not_predicted = f" The model does not predict {', '.join(label_map.unpredicted)} yet."
    remedy = (
        'Add a <Label> of that name to the labelling config, or predicted_values="'
        f'{",".join(unmapped)}" to the label with that meaning.'
    )
    listed = ", ".join(unmapped)
    if not names:
        return problem(
            "no-label-in-common",
            f"The project has no label for any label of the model, so nothing is drawn: {listed}."
            f"{not_predicted}",
            remedy,
        )
    if unmapped:
        sentence = (
            f"The project has no label for these labels of the model: {listed}.{not_predicted}"
        )
        return warning("labels-left-out", sentence, remedy)
    mapped = ", ".join(
        name if name == label else f"{label} as {name}"
        for label, name in label_map.project_labels.items()
    )
    return ok(f"The project has a label for every label of the model: {mapped}.{not_predicted}")


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
