"""Which version's predictions the annotators of a project see."""

from collections.abc import Sequence
from functools import partial

from tagalong.backend.label_studio.api.client import LabelStudioClient
from tagalong.backend.label_studio.api.retries import RateLimitedRetry


def select_model_version(
    client: LabelStudioClient,
    project: int,
    versions: Sequence[str],
    *,
    overwrite: bool,
    retry: RateLimitedRetry,
) -> str:
    """Have a project show the predictions of a batch, where it shows nobody's yet.

    Label Studio shows, and sorts by, one version at a time.

    Args:
        client: The Label Studio.
        project: Id of the project.
        versions: Who predicted, whoever did most first.
        overwrite: Show them in place of others too.
        retry: How to ask.

    Returns:
        What annotators see now, a sentence; empty where there are no predictions.

    Raises:
        LabelStudioError: If Label Studio says no, or has been away for too long.
    """
    found = retry.call(lambda: client.get_project(project))
    if not found.prediction_count:
        return ""
    shown = found.model_version
    if shown not in versions and shown and not overwrite:
        return (
            f"Annotators still see {shown}: choose {versions[0]} under Settings, Annotation, or "
            "give --show."
        )
    if shown not in versions or overwrite:
        shown = versions[0]
        change = partial(client.update_project, project, model_version=shown)
        retry.call(change)
    others = [version for version in versions if version != shown]
    more = f", where {' and '.join(others)} can be chosen instead" if others else ""
    return f"Annotators see {shown}, as chosen under Settings, Annotation{more}."
