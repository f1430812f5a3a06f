"""Updating Label Studio after a promotion.

Label Studio shows, sorts and samples by the predictions of the project's version, which is the
title of a backend. With another title, the score column stays empty and uncertainty sampling is
random; Label Studio does not warn.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tagalong.backend.label_studio.api.client import LabelStudioClient
from tagalong.backend.label_studio.api.objects import MLBackend

SERVE_TIMEOUT_SECONDS = 30.0  # until a server must serve the promoted version
POLL_INTERVAL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class AnnouncementResult:
    """The state of a project in Label Studio after a promotion.

    Attributes:
        backend_titles: Former titles of the backends that serve the version. Without one, and
            without predictions of the version, Label Studio does not know the version yet.
        stale_predictions: Number of predictions of other versions, which are no longer shown.
    """

    backend_titles: tuple[str, ...]
    stale_predictions: int


def announce_promotion(
    client: LabelStudioClient,
    project: int,
    version: str,
    *,
    timeout_seconds: float = SERVE_TIMEOUT_SECONDS,
) -> AnnouncementResult:
    """Set the model version of a project, and the title of its backends.

    Args:
        client: The client.
        project: Project id.
        version: The promoted version.
        timeout_seconds: Time to wait until a backend of the project serves it.

    Raises:
        LabelStudioError: If a request fails or is refused, or the project was deleted.
    """
    serving = _wait_for_backends(client, project, version, timeout_seconds)
    for backend in serving:
        client.ml_backends.update(backend, title=version)
    counts = client.predictions.count_by_version(project)
    if serving or version in counts:  # Label Studio refuses any other name
        client.update_project(project, model_version=version)
    stale = sum(count for name, count in counts.items() if name != version)
    return AnnouncementResult(tuple(backend.title for backend in serving), stale)


def _wait_for_backends(
    client: LabelStudioClient, project: int, version: str, seconds: float
) -> Sequence[MLBackend]:
    """Wait until a backend serves a version; each listing makes Label Studio call them."""
    deadline = time.monotonic() + seconds
    while True:
        backends = client.ml_backends.list_for_project(project)
        found = [one for one in backends if one.is_connected and one.model_version == version]
        if found or not backends or time.monotonic() > deadline:
            return found
        time.sleep(POLL_INTERVAL_SECONDS)
