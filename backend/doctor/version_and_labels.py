"""Checks that Label Studio and the backend use the same version and labels."""

from collections.abc import Sequence

from tagalong.backend.doctor.context import DoctorContext
from tagalong.backend.doctor.finding import DoctorFinding, ok, pluralize, problem, skipped, warning
from tagalong.backend.label_studio.label_map import map_labels


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
            f"{rename}; the project follows.",
        )
    remedy = (
        f"{rename}, and choose" if title != served else "Choose"
    ) + " it under Settings, Annotation, Prelabeling."
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
    labels = _model_labels(context)
    if not labels:
        return skipped(
            "labels-unknown",
            "The backend is still loading its model."
            if context.is_tagalong
            else "The backend does not tell the labels of its model.",
        )
    label_map = map_labels(labels, context.config)
    unmapped, names = label_map.unmapped, sorted(set(label_map.project_labels.values()))
    remedy = (
        'Add a <Label> of that name to the labelling config, or predicted_values="'
        f'{",".join(unmapped)}" to the label with that meaning.'
    )
    listed = ", ".join(unmapped)
    if not names:
        return problem(
            "no-label-in-common",
            f"The project has no label for any label of the model, so nothing is drawn: {listed}.",
            remedy,
        )
    if unmapped:
        return warning(
            "labels-left-out",
            f"The project has no label for these labels of the model: {listed}.",
            remedy,
        )
    mapped = ", ".join(
        name if name == label else f"{label} as {name}"
        for label, name in label_map.project_labels.items()
    )
    # Labels that only people assign are fine, so they are mentioned without a warning.
    alone = [label for label in context.config.labels if label not in names]
    return ok(
        f"The project has a label for every label of the model: {mapped}."
        + (f" Only people assign {', '.join(alone)}." if alone else "")
    )


def _model_labels(context: DoctorContext) -> Sequence[str]:
    """The labels in the answer to ``/health``; only our own server lists them."""
    labels = context.health_response.get("labels")
    return [str(label) for label in labels] if isinstance(labels, list) else []
