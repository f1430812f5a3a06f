"""The last projects that asked for predictions, and what they got: bounded in every direction.

Whoever may call the server chooses the names of projects and labels, so none of them may make it
grow: the project seen longest ago makes room, and names past the first few are counted as one.
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from datetime import datetime

from backend.server.snapshot import Dropped, Outcome, ProjectState, UnreadTasks

OTHER = "other"  # what names past the first few are counted as
PROJECTS = 24  # shown: more than one server is connected to, few enough to read
LABELS = 48  # of a project's mapping, and of its dropped regions
NAME_LENGTH = 80  # characters of a label or project that are kept
SENTENCE_LENGTH = 400  # characters


class Names:
    """The first few names that came; every later one is `OTHER`.

    Args:
        most: How many are told apart.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def bounded(self, name: str) -> str:
        """The name itself while there is room, else `OTHER`."""
        name = displayable(name)
        if name not in self._known and len(self._known) < self._most:
            self._known.add(name)
        return name if name in self._known else OTHER


@dataclass(slots=True)
class _Record:
    """What is known of one project and tier."""

    seen: datetime
    requests: int = 0
    tasks: int = 0
    regions: int = 0
    labels: dict[str, str | None] = field(default_factory=dict)
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)
    sentences: dict[str, str] = field(default_factory=dict)
    label_names: Names = field(default_factory=lambda: Names(LABELS))


class ProjectBook:
    """Keeps the last `PROJECTS` pairs of project and tier. Not locked: its owner does that."""

    def __init__(self) -> None:
        self._records: OrderedDict[tuple[str, str], _Record] = OrderedDict()

    def note(self, project: str, tier: str, outcome: Outcome, *, at: datetime) -> None:
        """Add what became of a request.

        Args:
            project: Its id; empty where the request did not say.
            tier: Which answered.
            outcome: What became of it; reasons are few, the caller sees to that.
            at: When, in UTC.
        """
        key = (displayable(project), tier)
        record = self._records.setdefault(key, _Record(at))
        self._records.move_to_end(key)
        if len(self._records) > PROJECTS:
            self._records.popitem(last=False)
        record.seen = at
        record.requests += 1
        record.tasks += outcome.tasks
        record.regions += outcome.regions
        record.labels = {
            displayable(label): None if name is None else displayable(name)
            for label, name in list(outcome.labels.items())[:LABELS]
        }
        for lost in outcome.lost:
            record.dropped[record.label_names.bounded(lost.label), lost.reason] += 1
        for unread in outcome.unread:
            record.unread[unread.reason] += 1
            record.sentences[unread.reason] = displayable(unread.sentence, SENTENCE_LENGTH)

    def states(self) -> tuple[ProjectState, ...]:
        """What is known now, last seen first."""
        return tuple(
            ProjectState(
                project=project,
                tier=tier,
                seen=record.seen,
                requests=record.requests,
                tasks=record.tasks,
                regions=record.regions,
                labels=dict(record.labels),
                dropped=tuple(
                    Dropped(label, reason, count)
                    for (label, reason), count in record.dropped.most_common()
                ),
                unread=tuple(
                    UnreadTasks(reason, count, record.sentences[reason])
                    for reason, count in record.unread.most_common()
                ),
            )
            for (project, tier), record in reversed(self._records.items())
        )


def displayable(text: str, most: int = NAME_LENGTH) -> str:
    """Cut a text that is longer than anybody would read, and let UTF-8 hold it.

    Args:
        text: Any; JSON may hold half a surrogate pair.
        most: Characters that stay, the ellipsis included; more only where some had to be escaped.

    Returns:
        The text, with an ellipsis where it was cut.
    """
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return cut.encode("utf-8", "backslashreplace").decode()
