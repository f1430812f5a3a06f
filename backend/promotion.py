"""What a promotion has to tell Label Studio, so that its scores and its sampling go by the version.

Label Studio shows, sorts and samples by predictions whose version equals the project's, and knows
that from the title of the backend: with any other title its score column stays empty, and
uncertainty sampling is random, without a word.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from backend.remote.client import LabelStudio
from backend.remote.objects import Backend

SECONDS = 30.0  # that a server has to serve what was promoted
PAUSE = 1.0  # seconds between looks


@dataclass(frozen=True, slots=True)
class Announced:
    """What Label Studio knows of a promotion.

    Attributes:
        backends: Titles of the project's backends that serve the version, as they were. Without
            one, and without predictions of the version, Label Studio knows nothing of it yet.
        stale: Predictions of other versions, which are not shown any more.
    """

    backends: tuple[str, ...]
    stale: int


def announce(
    studio: LabelStudio,
    project: int,
    version: str,
    *,
    seconds: float = SECONDS,
) -> Announced:
    """Have a project go by a version that was promoted.

    Args:
        studio: The Label Studio.
        project: Id of the project.
        version: What serves from now on.
        seconds: How long to wait until a backend of the project serves it.

    Returns:
        What was done.

    Raises:
        LabelStudioError: If Label Studio says no, or there is no such project any more.
    """
    serving = _serving(studio, project, version, seconds)
    for backend in serving:
        studio.backends.update(backend, title=version)
    counts = studio.predictions.versions(project)
    if serving or version in counts:  # any other name, Label Studio refuses
        studio.update_project(project, model_version=version)
    stale = sum(count for name, count in counts.items() if name != version)
    return Announced(tuple(backend.title for backend in serving), stale)


def _serving(studio: LabelStudio, project: int, version: str, seconds: float) -> Sequence[Backend]:
    """The backends that serve a version, as soon as there is one; Label Studio asks them."""
    deadline = time.monotonic() + seconds
    while True:
        backends = studio.backends.of(project)
        found = [one for one in backends if one.connected and one.model_version == version]
        if found or not backends or time.monotonic() > deadline:
            return found
        time.sleep(PAUSE)
