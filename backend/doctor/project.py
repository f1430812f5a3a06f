"""Checks of the project: its labelling config, its tasks and its pre-labelling setting."""

from tagalong.backend.doctor.context import DoctorContext
from tagalong.backend.doctor.finding import (
    CheckResult,
    format_sentence,
    ok,
    pluralize,
    problem,
    warning,
)
from tagalong.backend.label_studio.results import UNDEFINED_KEY
from tagalong.ner.errors import FormatError

LABELING_INTERFACE_PAGE = "under Settings, Labeling Interface, Code"
PRELABELING_SETTING = "Use predictions to prelabel tasks"
MAX_LISTED_TASKS = 5  # in a sentence


def check_label_config(context: DoctorContext) -> CheckResult:
    """Whether the labelling config lets annotators mark spans of a text."""
    try:
        config = context.config
    except FormatError as error:
        return problem(
            error.code,
            format_sentence(str(error)),
            f"Change the labelling config {LABELING_INTERFACE_PAGE}; Tagalong's label_config.xml "
            "is an example.",
        )
    return ok(
        f"<Labels name={config.control!r}> marks {len(config.labels)} labels in the text under "
        f"{config.data_key!r}."
    )


def check_tasks(context: DoctorContext) -> CheckResult:
    """Whether there are tasks, with a text under the key of the config."""
    if not context.tasks:
        return warning(
            "no-tasks",
            "The project has no tasks.",
            "Import some: Import, above the project's list of tasks.",
        )
    # Tasks imported from plain text have their own key, which Label Studio resolves.
    key = context.config.data_key
    without = [
        str(task["id"])
        for task in context.tasks
        if not {key, UNDEFINED_KEY} & {*(task.get("data") or {})}
    ]
    if not without:
        return ok(f"{_describe_sample(context)}: all with data under {key!r}.")
    named = ", ".join(without[:MAX_LISTED_TASKS]) + (
        ", ..." if len(without) > MAX_LISTED_TASKS else ""
    )
    sentence = (
        f"Of {_describe_sample(context).lower()}, {len(without)} have nothing under {key!r}, where "
        f"the labelling config expects the text: {named}."
    )
    remedy = (
        f"Import these tasks again with their text under {key!r}, or name the key that they have "
        f"in the <Text> of the labelling config, {LABELING_INTERFACE_PAGE}."
    )
    # Some tasks without text may be meant for other controls; all of them cannot be.
    create = problem if len(without) == len(context.tasks) else warning
    return create("tasks-without-text", sentence, remedy)


def _describe_sample(context: DoctorContext) -> str:
    sampled, total = len(context.tasks), context.project.task_count
    return pluralize(sampled, "task") if sampled >= total else f"The {sampled} tasks changed last"


def check_prelabeling(context: DoctorContext) -> CheckResult:
    """Whether annotators see predictions."""
    if context.project.shows_predictions:
        return ok("The project shows predictions to annotators.")
    return problem(
        "prelabelling-off",
        f"Annotators see no predictions: {PRELABELING_SETTING!r} is off.",
        "Switch it on under Settings, Annotation, and choose the backend there: "
        f"{PRELABELING_SETTING}.",
    )
