"""Decides when annotations trigger a retraining job: enough of them, and none for a while."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tagalong.backend.storage.project_key import ProjectKey

DEBOUNCE_SECONDS = 10.0  # without a new annotation, so that a bulk import triggers one job
MAX_WAIT_SECONDS = 300.0  # if annotations never pause


@dataclass(frozen=True, slots=True)
class RetrainSettings:
    """Settings of retraining."""

    command: tuple[str, ...] = ()  # runs the job whose id follows ``--run``; empty for none
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)  # added, as a key is
    unavailable_reason: str = ""  # why the server cannot retrain, as one sentence
    min_annotations: int = 0  # new ones that trigger a job; 0 for the train button only


@dataclass(slots=True)
class _PendingChanges:
    """Events of a project that no job covers yet; times are of the clock."""

    first_seen_at: float
    last_event_id: int
    last_changed_at: float


class Debouncer:
    """Decides for each project whether a job is due. Its state is in memory only.

    `min_annotations` new ones trigger a job, 0 for never; `clock` returns monotonic seconds.
    """

    def __init__(
        self, min_annotations: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._min_annotations, self._clock = min_annotations, clock
        self._pending: dict[ProjectKey, _PendingChanges] = {}

    def is_due(self, project: ProjectKey, annotations: int, last_event_id: int) -> bool:
        """Whether a job is due now, for new or changed annotations that no job covers."""
        if not self._min_annotations or annotations < self._min_annotations:
            self.reset(project)
            return False
        now = self._clock()
        pending = self._pending.setdefault(project, _PendingChanges(now, last_event_id, now))
        if last_event_id != pending.last_event_id:
            pending.last_event_id, pending.last_changed_at = last_event_id, now
        is_quiet = now - pending.last_changed_at >= DEBOUNCE_SECONDS
        return is_quiet or now - pending.first_seen_at >= MAX_WAIT_SECONDS

    def reset(self, project: ProjectKey) -> None:
        """Forget a project, after a job was queued."""
        self._pending.pop(project, None)
