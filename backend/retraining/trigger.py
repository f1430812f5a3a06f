"""How a server trains, and when annotations are reason enough to: many, and no more are coming."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

DEBOUNCE_SECONDS = 10.0  # seconds without a new annotation: a flood of them makes one training
MAX_WAIT_SECONDS = (
    300.0  # seconds after which annotations that never stop coming are reason enough too
)


@dataclass(frozen=True, slots=True)
class RetrainSettings:
    """How a server trains.

    Attributes:
        command: Trains, given ``--run`` and the id of a training; empty where it cannot be done.
        environment: What it needs beside the server's own, such as a key.
        unavailable_reason: Why it cannot, a sentence.
        min_annotations: Annotations after which a training begins by itself; 0 for never.
        debounce_seconds: Seconds without a new annotation before it does.
        max_wait_seconds: Seconds after which it does whatever comes.
    """

    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    unavailable_reason: str = ""
    min_annotations: int = 0
    debounce_seconds: float = DEBOUNCE_SECONDS
    max_wait_seconds: float = MAX_WAIT_SECONDS


@dataclass(slots=True)
class _PendingChanges:
    """Events of a project that no training answers for yet."""

    first_seen_at: float
    last_event_id: int
    last_changed_at: float


class Debouncer:
    """Tells for each project whether a training is due. Forgets everything with its process.

    Args:
        settings: Says what is enough.
        clock: Tells seconds, and never goes back.
    """

    def __init__(
        self, settings: RetrainSettings, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings, self._clock = settings, clock
        self._pending: dict[int, _PendingChanges] = {}

    def is_due(self, project: int, annotations: int, last_event_id: int) -> bool:
        """Look at a project again.

        Args:
            project: Its id.
            annotations: That were made or changed and no training answers for.
            last_event_id: Id of the last event of these.

        Returns:
            Whether they are reason enough to train now.
        """
        enough = self._settings.min_annotations
        if not enough or annotations < enough:
            self._pending.pop(project, None)
            return False
        now = self._clock()
        seen = self._pending.setdefault(project, _PendingChanges(now, last_event_id, now))
        if last_event_id != seen.last_event_id:
            seen.last_event_id, seen.last_changed_at = last_event_id, now
        rests = now - seen.last_changed_at >= self._settings.debounce_seconds
        return rests or now - seen.first_seen_at >= self._settings.max_wait_seconds

    def reset(self, project: int) -> None:
        """A training answers for what was seen of a project."""
        self._pending.pop(project, None)
