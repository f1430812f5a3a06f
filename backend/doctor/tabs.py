"""The check of the tabs in the Data Manager, and its fix."""

from tagalong.backend.doctor.context import DoctorContext
from tagalong.backend.doctor.finding import CheckResult, ok, pluralize, problem
from tagalong.backend.label_studio.api.filters import (
    MOST,
    tasks_of,
    unknown_operators,
    without_lists,
)
from tagalong.backend.label_studio.api.objects import View


def check_tabs(context: DoctorContext) -> CheckResult:
    """Whether the page knows the operators of all filters; otherwise it shows nothing."""
    broken = _broken(context)
    if not broken:
        return ok(f"The page knows the filters of {pluralize(len(context.views), 'tab')}.")
    operators = [one for view in broken for one in unknown_operators(view.filters)]
    return problem(
        "unknown-filter-operator",
        "Nobody can open the project's Data Manager: Label Studio's page does not know the filter "
        f"{', '.join(map(repr, dict.fromkeys(operators)))} of {_named(broken)}.",
        "Run the same command with --fix: it rewrites these filters, and keeps titles, order and "
        "columns.",
    )


def mend_tabs(context: DoctorContext) -> CheckResult:
    """Replace the filters that the page does not know."""
    broken, cut = _broken(context), []
    for view in broken:
        filters = without_lists(view.filters)
        if filters is None:  # no filter selects the same tasks: list the ones shown now
            tasks = context.client.tasks.list_ids_in_view(context.project.id, view.id)
            filters = tasks_of(tasks)
            if len(tasks) > MOST:
                cut.append(f" {view.title!r} shows the first {MOST} of its {len(tasks)} tasks.")
        context.client.views.refilter(context.project.id, view, filters)
    context.forget_views()
    result = check_tabs(context)
    if result.status != "ok":
        return result
    return ok(f"Fixed: the page knows the filter of {_named(broken)} now.{''.join(cut)}")


def _broken(context: DoctorContext) -> list[View]:
    """The tabs with a filter that the page does not know."""
    return [view for view in context.views if unknown_operators(view.filters)]


def _named(views: list[View]) -> str:
    noun = "tab" if len(views) == 1 else "tabs"
    return f"{noun} {', '.join(f'{view.title!r} ({view.id})' for view in views)}"
