"""What happened on the server, as the status page reads it: values at one moment, all bounded.

Projects and labels are strings that anybody may send, so the page holds the last few of them and
cuts long ones. No text of a document is ever in here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tagalong.ner.document import DroppedAnnotation
from tagalong.ner.manifest import Manifest


@dataclass(frozen=True, slots=True)
class UnreadableTask:
    """Why a task could not be read.

    Attributes:
        reason: A few words that many tasks share, such as "no text".
        message: What was found and what to do; holds no text of a document.
    """

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class RequestStats:
    """What became of one request for predictions.

    Attributes:
        tasks: How many were answered, the unread ones included.
        regions: How many were returned.
        labels: The project's label for each of the model's; None where it has no such label.
        dropped_annotations: What was found and not returned; its texts are not kept.
        unreadable_tasks: One for each task that could not be read.
    """

    tasks: int
    regions: int
    labels: Mapping[str, str | None] = field(default_factory=dict)
    dropped_annotations: Sequence[DroppedAnnotation] = ()
    unreadable_tasks: Sequence[UnreadableTask] = ()


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """A version that did not load.

    Attributes:
        version: Its name.
        reason: What was found and what to do.
        failed_at: When it was tried, in UTC.
    """

    version: str
    reason: str
    failed_at: datetime


@dataclass(frozen=True, slots=True)
class TierState:
    """What serves for a tier.

    Attributes:
        tier: Its name.
        manifest: Of the version that serves; None for none.
        serving_since: When that version began to serve, in UTC.
        load_seconds: How long it took to load.
        runtime: What runs it, in words; empty where that is not told.
        loading_version: The version that is being loaded now.
        load_failures: Versions that should serve and do not load, the latest first.
        tasks: Answered since the server started.
        regions: Returned since the server started.
    """

    tier: str
    manifest: Manifest | None = None
    serving_since: datetime | None = None
    load_seconds: float | None = None
    runtime: str = ""
    loading_version: str | None = None
    load_failures: tuple[LoadFailure, ...] = ()
    tasks: int = 0
    regions: int = 0


@dataclass(frozen=True, slots=True)
class RouteStats:
    """How a route fared.

    Attributes:
        route: As the application names it.
        requests: All of them since the server started.
        client_errors: Those answered with a status of 400 to 499.
        server_errors: Those answered with a status from 500.
        median_seconds: Seconds, exact over the last requests (`telemetry.SAMPLE` of them).
        p95_seconds: Seconds that 95 in 100 of the same requests took at most.
    """

    route: str
    requests: int
    client_errors: int
    server_errors: int
    median_seconds: float
    p95_seconds: float


@dataclass(frozen=True, slots=True)
class DroppedRegionCount:
    """Regions that were found and not returned.

    Attributes:
        label: The model's.
        reason: One of `tagalong.ner.document.DROP_REASONS`.
        count: How many since the project was first seen.
    """

    label: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class UnreadableTaskCount:
    """Tasks that could not be read for one reason.

    Attributes:
        reason: See `UnreadableTask`.
        count: How many since the project was first seen.
        message: The last one.
    """

    reason: str
    count: int
    message: str


@dataclass(frozen=True, slots=True)
class ProjectState:
    """What one project got from one tier.

    Attributes:
        project: Its id in Label Studio; empty where requests did not say.
        tier: Which answered.
        last_seen_at: When it last asked, in UTC.
        requests: For predictions, since it was first seen.
        tasks: Answered.
        regions: Returned.
        labels: Of the last request: the project's label for each of the model's, or None.
        dropped_regions: Most frequent first.
        unreadable_tasks: Most frequent first.
    """

    project: str
    tier: str
    last_seen_at: datetime
    requests: int
    tasks: int
    regions: int
    labels: Mapping[str, str | None]
    dropped_regions: tuple[DroppedRegionCount, ...]
    unreadable_tasks: tuple[UnreadableTaskCount, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment.

    Attributes:
        taken_at: That moment, in UTC.
        started_at: When the server started, in UTC.
        tiers: In the server's order.
        routes: Most used first.
        projects: Last seen first.
        in_flight: Requests being answered.
    """

    taken_at: datetime
    started_at: datetime
    tiers: tuple[TierState, ...]
    routes: tuple[RouteStats, ...] = ()
    projects: tuple[ProjectState, ...] = ()
    in_flight: int = 0
