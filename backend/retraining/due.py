"""How a server trains, and when annotations are reason enough to: many, and no more are coming."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

QUIET = 10.0  # seconds without a new annotation: a flood of them makes one training
AT_MOST = 300.0  # seconds after which annotations that never stop coming are reason enough too


@dataclass(frozen=True, slots=True)
class Training:
    """How a server trains.

    Attributes:
        command: Trains, given ``--run`` and the id of a training; empty where it cannot be done.
        environment: What it needs beside the server's own, such as a key.
        why_not: Why it cannot, a sentence.
        after: Annotations after which a training begins by itself; 0 for never.
        quiet: Seconds without a new annotation before it does.
        at_most: Seconds after which it does whatever comes.
    """

    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    why_not: str = ""
    after: int = 0
    quiet: float = QUIET
    at_most: float = AT_MOST


@dataclass(slots=True)
class _Seen:
    """Events of a project that no training answers for yet."""

    since: float
    last: int
    changed: float


class Watch:
    """Tells for each project whether a training is due. Forgets everything with its process.

    Args:
        training: Says what is enough.
        clock: Tells seconds, and never goes back.
    """

    def __init__(self, training: Training, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._training, self._clock = training, clock
        self._seen: dict[int, _Seen] = {}

    def is_due(self, project: int, annotations: int, last: int) -> bool:
        """Look at a project again.

        Args:
            project: Its id.
            annotations: That were made or changed and no training answers for.
            last: Id of the last event of these.

        Returns:
            Whether they are reason enough to train now.
        """
        enough = self._training.after
        if not enough or annotations < enough:
            self._seen.pop(project, None)
            return False
        now = self._clock()
        seen = self._seen.setdefault(project, _Seen(now, last, now))
        if last != seen.last:
            seen.last, seen.changed = last, now
        rests = now - seen.changed >= self._training.quiet
        return rests or now - seen.since >= self._training.at_most

    def begun(self, project: int) -> None:
        """A training answers for what was seen of a project."""
        self._seen.pop(project, None)
