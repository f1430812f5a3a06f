"""Whether the project is one whose tasks can be pre-labelled."""

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
MAX_LISTED_TASKS = 5  # tasks that a sentence names


def check_label_config(case: DoctorContext) -> CheckResult:
    """Whether spans of a text can be marked with the labelling config."""
    try:
        config = case.config
    except FormatError as error:
        return problem(
            format_sentence(str(error)),
            f"Change the labelling config {LABELING_INTERFACE_PAGE}; Tagalong's label_config.xml is one that "
            "works.",
        )
    return ok(
        f"<Labels name={config.control!r}> marks {len(config.labels)} labels in the text under "
        f"{config.data_key!r}."
    )


def check_tasks(case: DoctorContext) -> CheckResult:
    """Whether there are tasks, with a text where the config looks for it."""
    if not case.tasks:
        return warning(
            "The project has no tasks.", "Import some: Import, above the project's list of tasks."
        )
    key = case.config.data_key
    without = [
        str(task["id"])
        for task in case.tasks
        if not {key, UNDEFINED_KEY} & {*(task.get("data") or {})}
    ]
    if not without:
        return ok(f"{_describe_sample(case)}: all with data under {key!r}.")
    named = ", ".join(without[:MAX_LISTED_TASKS]) + (
        ", ..." if len(without) > MAX_LISTED_TASKS else ""
    )
    sentence = (
        f"Of {_describe_sample(case).lower()}, {len(without)} have nothing under {key!r}, where the "
        f"labelling config looks for the text: {named}."
    )
    remedy = (
        f"Import these tasks again with their text under {key!r}, or name the key that they have "
        f"in the <Text> of the labelling config, {LABELING_INTERFACE_PAGE}."
    )
    return (problem if len(without) == len(case.tasks) else warning)(sentence, remedy)


def _describe_sample(case: DoctorContext) -> str:
    """How many tasks were looked at."""
    looked, total = len(case.tasks), case.project.task_count
    return pluralize(looked, "task") if looked >= total else f"The {looked} tasks changed last"
