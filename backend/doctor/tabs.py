"""Whether Label Studio's page can show every tab of the project's Data Manager."""

from tagalong.backend.doctor.context import DoctorContext
from tagalong.backend.doctor.finding import CheckResult, ok, pluralize, problem
from tagalong.backend.label_studio.api.filters import (
    MOST,
    tasks_of,
    unknown_operators,
    without_lists,
)
from tagalong.backend.label_studio.api.objects import View


def check_tabs(case: DoctorContext) -> CheckResult:
    """Whether a filter has an operator that the page does not know: it then shows nothing."""
    broken = _broken(case)
    if not broken:
        return ok(f"The page knows the filters of {pluralize(len(case.views), 'tab')}.")
    operators = [one for view in broken for one in unknown_operators(view.filters)]
    return problem(
        "Nobody can open the project's Data Manager: Label Studio's page does not know the filter "
        f"{', '.join(map(repr, dict.fromkeys(operators)))} of {_named(broken)}.",
        "Run the same command with --fix: it rewrites these filters, and keeps titles, order and "
        "columns.",
    )


def mend_tabs(case: DoctorContext) -> CheckResult:
    """Rewrite the filters that the page does not know."""
    broken, cut = _broken(case), []
    for view in broken:
        filters = without_lists(view.filters)
        if filters is None:  # no other filter says the same: keep what the tab shows now
            tasks = case.client.tasks.list_ids_in_view(case.project.id, view.id)
            filters = tasks_of(tasks)
            if len(tasks) > MOST:
                cut.append(f" {view.title!r} shows the first {MOST} of its {len(tasks)} tasks.")
        case.client.views.refilter(case.project.id, view, filters)
    case.forget_views()
    verdict = check_tabs(case)
    if verdict.status != "ok":
        return verdict
    return ok(f"Mended: the page knows the filter of {_named(broken)} now.{''.join(cut)}")


def _broken(case: DoctorContext) -> list[View]:
    """The tabs whose filter the page does not know."""
    return [view for view in case.views if unknown_operators(view.filters)]


def _named(views: list[View]) -> str:
    """Tabs by title and number."""
    noun = "tab" if len(views) == 1 else "tabs"
    return f"{noun} {', '.join(f'{view.title!r} ({view.id})' for view in views)}"
