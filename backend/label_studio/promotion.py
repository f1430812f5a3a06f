"""What a promotion has to tell Label Studio, so that its scores and its sampling go by the version.

Label Studio shows, sorts and samples by predictions whose version equals the project's, and knows
that from the title of the backend: with any other title its score column stays empty, and
uncertainty sampling is random, without a word.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tagalong.backend.label_studio.api.client import LabelStudioClient
from tagalong.backend.label_studio.api.objects import MLBackend

SERVE_TIMEOUT_SECONDS = 30.0  # that a server has to serve what was promoted
POLL_INTERVAL_SECONDS = 1.0  # seconds between looks


@dataclass(frozen=True, slots=True)
class AnnouncementResult:
    """What Label Studio knows of a promotion.

    Attributes:
        backend_titles: Titles of the project's backends that serve the version, as they were. Without
            one, and without predictions of the version, Label Studio knows nothing of it yet.
        stale_predictions: Predictions of other versions, which are not shown any more.
    """

    backend_titles: tuple[str, ...]
    stale_predictions: int


def announce_promotion(
    studio: LabelStudioClient,
    project: int,
    version: str,
    *,
    timeout_seconds: float = SERVE_TIMEOUT_SECONDS,
) -> AnnouncementResult:
    """Have a project go by a version that was promoted.

    Args:
        studio: The Label Studio.
        project: Id of the project.
        version: What serves from now on.
        timeout_seconds: How long to wait until a backend of the project serves it.

    Returns:
        What was done.

    Raises:
        LabelStudioError: If Label Studio says no, or there is no such project any more.
    """
    serving = _wait_for_backends(studio, project, version, timeout_seconds)
    for backend in serving:
        studio.ml_backends.update(backend, title=version)
    counts = studio.predictions.count_by_version(project)
    if serving or version in counts:  # any other name, Label Studio refuses
        studio.update_project(project, model_version=version)
    stale = sum(count for name, count in counts.items() if name != version)
    return AnnouncementResult(tuple(backend.title for backend in serving), stale)


def _wait_for_backends(
    studio: LabelStudioClient, project: int, version: str, seconds: float
) -> Sequence[MLBackend]:
    """The backends that serve a version, as soon as there is one; Label Studio asks them."""
    deadline = time.monotonic() + seconds
    while True:
        backends = studio.ml_backends.list_for_project(project)
        found = [one for one in backends if one.is_connected and one.model_version == version]
        if found or not backends or time.monotonic() > deadline:
            return found
        time.sleep(POLL_INTERVAL_SECONDS)
