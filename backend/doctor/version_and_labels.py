"""Whether Label Studio and the backend call the version and the labels by the same names."""

from collections.abc import Sequence

from tagalong.backend.doctor.backend_client import BackendResponse
from tagalong.backend.doctor.context import DoctorContext
from tagalong.backend.doctor.finding import CheckResult, ok, pluralize, problem, skipped, warning
from tagalong.backend.label_studio.label_map import map_labels


def check_version(case: DoctorContext) -> CheckResult:
    """Whether backend and project go by the version that is served.

    Label Studio looks for the scores of predictions, and sorts tasks by them, under the version
    that the project names (its data manager and its next task); and asks the backend when a task
    is opened only if the project names the backend's title.
    """
    served, title, chosen = case.served_version, case.backends[0].title, case.project.model_version
    if not served:
        return skipped("The version that the backend serves is not known.")
    if title == chosen == served:
        return ok(f"Backend and project both go by the version served, {served!r}.")
    rename = f"Rename the backend to {served} under Settings, Model, Edit"
    if title == chosen:
        return problem(
            f"The backend is called {title!r} and serves version {served!r}, so the score column "
            "stays empty, and uncertainty sampling serves tasks at random.",
            f"{rename}; the project follows.",
        )
    remedy = (
        f"{rename}, and choose" if title != served else "Choose"
    ) + " it under Settings, Annotation, Prelabeling."
    if stored := case.version_counts.get(chosen, 0):
        return warning(
            f"The project shows {pluralize(stored, 'stored prediction')} of {chosen!r}, so the "
            f"backend, {title!r}, is not asked when a task is opened.",
            f"{remedy} Leave it so if predictions made beforehand are meant.",
        )
    whose = f"of {chosen!r}, of which none are stored" if chosen else "of no version"
    return problem(
        f"The project shows predictions {whose}, and not those of the backend, which is called "
        f"{title!r} and serves {served!r}.",
        remedy,
    )


def check_labels(case: DoctorContext) -> CheckResult:
    """Whether the model's labels have a name in the project."""
    labels = _model_labels(case)
    if not labels:
        return skipped(
            "The backend is still loading its model."
            if case.is_tagalong
            else "The backend does not say which labels its model has."
        )
    label_map = map_labels(labels, case.config)
    lost, names = label_map.unmapped, sorted(set(label_map.project_labels.values()))
    advice = (
        'Add a <Label> of that name to the labelling config, or predicted_values="'
        f'{",".join(lost)}" to the one that stands for it.'
    )
    listed = ", ".join(lost)
    if not names:
        return problem(
            f"No label of the model has a name in the project, so nothing is ever drawn: {listed}.",
            advice,
        )
    if lost:
        return warning(
            f"Labels of the model without a name in the project are left out: {listed}.", advice
        )
    mapped = ", ".join(
        name if name == label else f"{label} as {name}"
        for label, name in label_map.project_labels.items()
    )
    alone = [label for label in case.config.labels if label not in names]
    return ok(
        f"Every label of the model has its name in the project: {mapped}."
        + (f" Only people give {', '.join(alone)}." if alone else "")
    )


def _model_labels(case: DoctorContext) -> Sequence[str]:
    """The labels that the backend names in its health, as our own server does."""
    labels = (
        case.health_response.get("labels")
        if isinstance(case.health_response, BackendResponse)
        else None
    )
    return [str(label) for label in labels] if isinstance(labels, list) else []
