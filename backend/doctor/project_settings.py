"""Checks of the project: its labelling config, tasks, tabs and pre-labelling setting."""

from dataclasses import replace

from tagalong.backend.doctor.context import DoctorContext
from tagalong.backend.doctor.finding import (
    DoctorFinding,
    format_sentence,
    list_some,
    ok,
    problem,
    warning,
)
from tagalong.backend.label_studio.api.filters import (
    MAX_FILTER_ITEMS,
    filter_by_ids,
    unknown_operators,
    without_lists,
)
from tagalong.backend.label_studio.api.objects import View
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.results import UNDEFINED_KEY, VARIABLE, find_value
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.errors import FormatError

LABELING_INTERFACE_PAGE = "under Settings, Labeling Interface, Code"
ADVISED_ANNOTATIONS = 30  # before a first training, see README
PRELABELING_SETTING = "Use predictions to prelabel tasks"


def check_label_config(context: DoctorContext) -> DoctorFinding:
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
    controls = dict.fromkeys(f"<Labels name={text.control!r}>" for text in config.texts)
    return ok(
        f"{' and '.join(controls)} can mark {len(config.labels)} labels in the "
        f"{'texts' if config.other_texts else 'text'} under {_list_keys(config, ' and ')}."
    )


def check_tasks(context: DoctorContext) -> DoctorFinding:
    """Whether there are tasks, with a text under the key of the config."""
    if not context.tasks:
        sentence = "The project has no tasks."
        remedy = "Import some: Import, above the project's list of tasks."
        return warning("no-tasks", sentence, remedy)
    keys = _list_keys(context.config, " or ")
    without = [
        str(task["id"])
        for task in context.tasks
        if not _has_value(task.get("data"), context.config)
    ]
    if not without:
        return ok(f"{_describe_sample(context)}: all with data under {keys}.")
    sentence = (
        f"Of {_describe_sample(context).lower()}, {len(without)} have nothing under {keys}, where "
        f"the labelling config expects the text: {list_some(without)}."
    )
    remedy = (
        f"Import these tasks again with their text under {keys}, or name the key that they have "
        f"in the <Text> of the labelling config, {LABELING_INTERFACE_PAGE}."
    )
    # Some tasks without text may be meant for other controls; all of them cannot be.
    create = problem if len(without) == len(context.tasks) else warning
    return create("tasks-without-text", sentence, remedy)


def _list_keys(config: LabelConfig, between: str) -> str:
    return between.join(dict.fromkeys(repr(text.data_key) for text in config.texts))


def _has_value(data: object, config: LabelConfig) -> bool:
    if config.other_texts:
        return any(_has_value(data, replace(text, other_texts=())) for text in config.texts)
    if config.template:
        variables = VARIABLE.findall(config.template)
        return all(find_value(data, variable[1:]) is not None for variable in variables)
    # Tasks imported from plain text have their own key, which Label Studio resolves.
    return any(find_value(data, key) is not None for key in (config.data_key, UNDEFINED_KEY))


def _describe_sample(context: DoctorContext) -> str:
    sampled, total = len(context.tasks), context.project.task_count
    return pluralize(sampled, "task") if sampled >= total else f"The {sampled} tasks changed last"


def check_prelabeling(context: DoctorContext) -> DoctorFinding:
    """Whether annotators see predictions."""
    if context.project.shows_predictions:
        return ok("The project shows predictions to annotators.")
    return problem(
        "prelabelling-off",
        f"Annotators see no predictions: {PRELABELING_SETTING!r} is off.",
        "Switch it on under Settings, Annotation, and choose the backend there: "
        f"{PRELABELING_SETTING}.",
    )


def check_annotations(context: DoctorContext) -> DoctorFinding:
    """How many annotations a training would have."""
    count = context.project.annotation_count
    if count >= ADVISED_ANNOTATIONS:
        return ok(f"A training would have {pluralize(count, 'annotation')}.")
    return ok(
        f"A training would have {pluralize(count, 'annotation')}; the advice is about "
        f"{ADVISED_ANNOTATIONS} before the first one."
    )


def check_tabs(context: DoctorContext) -> DoctorFinding:
    """Whether the page knows the operators of all filters; otherwise it shows nothing."""
    broken = _find_broken_tabs(context)
    if not broken:
        return ok(f"The page knows the filters of {pluralize(len(context.views), 'tab')}.")
    operators = [one for view in broken for one in unknown_operators(view.filters)]
    return problem(
        "unknown-filter-operator",
        "Nobody can open the project's Data Manager: Label Studio's page does not know the filter "
        f"{', '.join(map(repr, dict.fromkeys(operators)))} of {_name_tabs(broken)}.",
        "Run the same command with --fix: it rewrites these filters, and keeps titles, order and "
        "columns.",
    )


def mend_tabs(context: DoctorContext) -> DoctorFinding:
    """Replace the filters that the page does not know."""
    broken, cut = _find_broken_tabs(context), []
    for view in broken:
        filters = without_lists(view.filters)
        if filters is None:  # no filter selects the same tasks: list the ones shown now
            tasks = context.client.tasks.list_ids_in_view(context.project.id, view.id)
            filters = filter_by_ids(tasks)
            if len(tasks) > MAX_FILTER_ITEMS:
                cut.append(
                    f" {view.title!r} shows the first {MAX_FILTER_ITEMS} of its {len(tasks)} tasks."
                )
        context.client.views.refilter(context.project.id, view, filters)
    del context.views  # so that the check reads them again
    result = check_tabs(context)
    if result.status != "ok":
        return result
    return ok(f"Fixed: the page knows the filter of {_name_tabs(broken)} now.{''.join(cut)}")


def _find_broken_tabs(context: DoctorContext) -> list[View]:
    return [view for view in context.views if unknown_operators(view.filters)]


def _name_tabs(views: list[View]) -> str:
    noun = "tab" if len(views) == 1 else "tabs"
    return f"{noun} {', '.join(f'{view.title!r} ({view.id})' for view in views)}"
