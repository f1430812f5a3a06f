"""What happened on the server, as the status page reads it: values at one moment, all bounded.

Projects and labels are strings that anybody may send, so the page holds the last few of them and
cuts long ones. No text of a document is ever in here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ner.document import Lost
from ner.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Unread:
    """Why a task could not be read.

    Attributes:
        reason: A few words that many tasks share, such as "no text".
        sentence: What was found and what to do; holds no text of a document.
    """

    reason: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request for predictions.

    Attributes:
        tasks: How many were answered, the unread ones included.
        regions: How many were returned.
        labels: The project's label for each of the model's; None where it has no such label.
        lost: What was found and not returned; its texts are not kept.
        unread: One for each task that could not be read.
    """

    tasks: int
    regions: int
    labels: Mapping[str, str | None] = field(default_factory=dict)
    lost: Sequence[Lost] = ()
    unread: Sequence[Unread] = ()


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """A version that did not load.

    Attributes:
        version: Its name.
        reason: What was found and what to do.
        at: When it was tried, in UTC.
    """

    version: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class TierState:
    """What serves for a tier.

    Attributes:
        tier: Its name.
        manifest: Of the version that serves; None for none.
        since: When that version began to serve, in UTC.
        load_seconds: How long it took to load.
        runs_on: What runs it, in words; empty where that is not told.
        loading: The version that is being loaded now.
        failures: Versions that should serve and do not load, the latest first.
        tasks: Answered since the server started.
        regions: Returned since the server started.
    """

    tier: str
    manifest: Manifest | None = None
    since: datetime | None = None
    load_seconds: float | None = None
    runs_on: str = ""
    loading: str | None = None
    failures: tuple[LoadFailure, ...] = ()
    tasks: int = 0
    regions: int = 0


@dataclass(frozen=True, slots=True)
class RouteState:
    """How a route fared.

    Attributes:
        route: As the application names it.
        requests: All of them since the server started.
        refused: Those answered with a status of 400 to 499.
        failed: Those answered with a status from 500.
        median: Seconds, exact over the last requests (`telemetry.SAMPLE` of them).
        p95: Seconds that 95 in 100 of the same requests took at most.
    """

    route: str
    requests: int
    refused: int
    failed: int
    median: float
    p95: float


@dataclass(frozen=True, slots=True)
class Dropped:
    """Regions that were found and not returned.

    Attributes:
        label: The model's.
        reason: One of `ner.document.LOST_REASONS`.
        count: How many since the project was first seen.
    """

    label: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class UnreadTasks:
    """Tasks that could not be read for one reason.

    Attributes:
        reason: See `Unread`.
        count: How many since the project was first seen.
        sentence: The last one.
    """

    reason: str
    count: int
    sentence: str


@dataclass(frozen=True, slots=True)
class ProjectState:
    """What one project got from one tier.

    Attributes:
        project: Its id in Label Studio; empty where requests did not say.
        tier: Which answered.
        seen: When it last asked, in UTC.
        requests: For predictions, since it was first seen.
        tasks: Answered.
        regions: Returned.
        labels: Of the last request: the project's label for each of the model's, or None.
        dropped: Most frequent first.
        unread: Most frequent first.
    """

    project: str
    tier: str
    seen: datetime
    requests: int
    tasks: int
    regions: int
    labels: Mapping[str, str | None]
    dropped: tuple[Dropped, ...]
    unread: tuple[UnreadTasks, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment.

    Attributes:
        taken: That moment, in UTC.
        started: When the server started, in UTC.
        tiers: In the server's order.
        routes: Most used first.
        projects: Last seen first.
        in_flight: Requests being answered.
    """

    taken: datetime
    started: datetime
    tiers: tuple[TierState, ...]
    routes: tuple[RouteState, ...] = ()
    projects: tuple[ProjectState, ...] = ()
    in_flight: int = 0
