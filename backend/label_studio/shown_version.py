"""The version whose predictions a project shows, set after a batch or after a promotion.

Label Studio shows, sorts and samples by the predictions of one version at a time. The project names
that version, by its own name or as the title of a backend. With another title, the score column
stays empty and uncertainty sampling is random; Label Studio does not warn.
"""

import time
from collections.abc import Sequence

from tagalong.backend.label_studio.api.client import LabelStudioClient
from tagalong.backend.label_studio.api.objects import MLBackend
from tagalong.backend.label_studio.connected_project import ConnectedProject
from tagalong.ner.counted_nouns import pluralize

SERVE_TIMEOUT_SECONDS = 30.0  # until a server must serve the promoted version
POLL_INTERVAL_SECONDS = 1.0


def show_batch(project: ConnectedProject, versions: Sequence[str], *, overwrite: bool) -> str:
    """Let a project show the predictions of a batch, if it shows no other version yet.

    Versions are in descending order of their number of predictions. Returns a sentence for the
    user, which is empty if there are no predictions.
    """
    settings = project.call(project.client.get_project)
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
        project.call(project.client.update_project, model_version=shown)
    others = [version for version in versions if version != shown]
    more = f", where {' and '.join(others)} can be chosen instead" if others else ""
    return f"Annotators see {shown}, as chosen under Settings, Annotation{more}."


def announce_promotion(client: LabelStudioClient, project: int, version: str) -> str:
    """Set the model version of a project, and the title of its backends that serve it.

    Returns sentences about what annotators see now. Raises LabelStudioError, also for a deleted
    project.
    """
    serving = _wait_for_backends(client, project, version)
    for backend in serving:
        client.ml_backends.update(backend, title=version)
    counts = client.predictions.count_by_version(project)
    if serving or version in counts:  # Label Studio refuses any other name
        client.update_project(project, model_version=version)
    stale = sum(count for name, count in counts.items() if name != version)
    hidden = (
        f" {pluralize(stale, 'prediction')} of other versions {'is' if stale == 1 else 'are'} "
        "no longer shown."
        if stale
        else ""
    )
    if serving:
        return f"The project and its backend use the version now.{hidden}"
    return (
        "No backend of the project serves the version: connect `tagalong serve` with this models "
        f"folder.{hidden}"
    )


def _wait_for_backends(
    client: LabelStudioClient, project: int, version: str
) -> Sequence[MLBackend]:
    deadline = time.monotonic() + SERVE_TIMEOUT_SECONDS
    while True:
        # Each listing makes Label Studio ask the backends for their version.
        backends = client.ml_backends.list_for_project(project)
        found = [one for one in backends if one.is_connected and one.model_version == version]
        if found or not backends or time.monotonic() > deadline:
            return found
        time.sleep(POLL_INTERVAL_SECONDS)
