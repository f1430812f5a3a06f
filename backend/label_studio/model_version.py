"""The version whose predictions the annotators of a project see."""

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
    """Let a project show the predictions of a batch, if it shows no other version yet.

    Label Studio shows, and sorts by, one version at a time.

    Args:
        client: The client.
        project: Project id.
        versions: The versions of the batch, by descending number of predictions.
        overwrite: Whether to replace another version as well.
        retry: Rate limit and retries.

    Returns:
        A sentence for the user; empty if there are no predictions.

    Raises:
        LabelStudioError: If a request fails or is refused.
    """
    settings = retry.call(lambda: client.get_project(project))
    if not settings.prediction_count:
        return ""
    shown = settings.model_version
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
