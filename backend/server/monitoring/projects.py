"""The last projects that asked for predictions, and what they got: bounded in every direction.

Whoever may call the server chooses the names of projects and labels, so none of them may make it
grow: the project seen longest ago makes room, and names past the first few are counted as one.
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from datetime import datetime

from tagalong.backend.server.monitoring.snapshot import (
    DroppedRegionCount,
    ProjectState,
    RequestStats,
    UnreadableTaskCount,
)

OTHER = "other"  # what names past the first few are counted as
MAX_PROJECTS = 24  # shown: more than one server is connected to, few enough to read
MAX_LABELS = 48  # of a project's mapping, and of its dropped regions
MAX_NAME_CHARACTERS = 80  # characters of a label or project that are kept
MAX_MESSAGE_CHARACTERS = 400  # characters


class BoundedNames:
    """The first few names that came; every later one is `OTHER`.

    Args:
        max_names: How many are told apart.
    """

    def __init__(self, max_names: int) -> None:
        self._max_names = max_names
        self._names: set[str] = set()

    def resolve(self, name: str) -> str:
        """The name itself while there is room, else `OTHER`."""
        name = truncate_text(name)
        if name not in self._names and len(self._names) < self._max_names:
            self._names.add(name)
        return name if name in self._names else OTHER


@dataclass(slots=True)
class _ProjectStats:
    """What is known of one project and tier."""

    last_seen_at: datetime
    requests: int = 0
    tasks: int = 0
    regions: int = 0
    labels: dict[str, str | None] = field(default_factory=dict)
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)
    unreadable_tasks: Counter[str] = field(default_factory=Counter)
    messages: dict[str, str] = field(default_factory=dict)
    label_names: BoundedNames = field(default_factory=lambda: BoundedNames(MAX_LABELS))


class ProjectTracker:
    """Keeps the last `MAX_PROJECTS` pairs of project and tier. Not locked: its owner does that."""

    def __init__(self) -> None:
        self._stats: OrderedDict[tuple[str, str], _ProjectStats] = OrderedDict()

    def record_request(
        self, project: str, tier: str, stats: RequestStats, *, received_at: datetime
    ) -> None:
        """Add what became of a request.

        Args:
            project: Its id; empty where the request did not say.
            tier: Which answered.
            stats: What became of it; reasons are few, the caller sees to that.
            received_at: When, in UTC.
        """
        key = (truncate_text(project), tier)
        record = self._stats.setdefault(key, _ProjectStats(received_at))
        self._stats.move_to_end(key)
        if len(self._stats) > MAX_PROJECTS:
            self._stats.popitem(last=False)
        record.last_seen_at = received_at
        record.requests += 1
        record.tasks += stats.tasks
        record.regions += stats.regions
        record.labels = {
            truncate_text(label): None if name is None else truncate_text(name)
            for label, name in list(stats.labels.items())[:MAX_LABELS]
        }
        for lost in stats.dropped_annotations:
            record.dropped[record.label_names.resolve(lost.label), lost.reason] += 1
        for unread in stats.unreadable_tasks:
            record.unreadable_tasks[unread.reason] += 1
            record.messages[unread.reason] = truncate_text(unread.message, MAX_MESSAGE_CHARACTERS)

    def read_states(self) -> tuple[ProjectState, ...]:
        """What is known now, last seen first."""
        return tuple(
            ProjectState(
                project=project,
                tier=tier,
                last_seen_at=record.last_seen_at,
                requests=record.requests,
                tasks=record.tasks,
                regions=record.regions,
                labels=dict(record.labels),
                dropped_regions=tuple(
                    DroppedRegionCount(label, reason, count)
                    for (label, reason), count in record.dropped.most_common()
                ),
                unreadable_tasks=tuple(
                    UnreadableTaskCount(reason, count, record.messages[reason])
                    for reason, count in record.unreadable_tasks.most_common()
                ),
            )
            for (project, tier), record in reversed(self._stats.items())
        )


def truncate_text(text: str, max_characters: int = MAX_NAME_CHARACTERS) -> str:
    """Cut a text that is longer than anybody would read, and let UTF-8 hold it.

    Args:
        text: Any; JSON may hold half a surrogate pair.
        max_characters: Characters that stay, the ellipsis included; more only where some had to be escaped.

    Returns:
        The text, with an ellipsis where it was cut.
    """
    cut = text if len(text) <= max_characters else text[: max_characters - 1] + "…"
    return cut.encode("utf-8", "backslashreplace").decode()
