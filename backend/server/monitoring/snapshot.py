"""The state of the server at one moment, as the status page shows it.

Clients choose the names of projects and labels. So every collection here is bounded, and long
names are cut. No text of a document is stored.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tagalong.ner.document import DroppedAnnotation
from tagalong.ner.manifest import Manifest


@dataclass(frozen=True, slots=True)
class UnreadableTask:
    """A task without a usable text. Neither field has any text of a document."""

    reason: str  # a category of few words, such as "no text"
    message: str


@dataclass(frozen=True, slots=True)
class RequestStats:
    """Numbers of one request for predictions.

    Attributes:
        tasks: Tasks answered, unreadable ones included.
        regions: Regions returned.
        labels: Model label -> label of the project; None where the project has none for it.
        dropped_annotations: Entities found and not returned; their texts are not kept.
        unreadable_tasks: One for each such task.
    """

    tasks: int
    regions: int
    labels: Mapping[str, str | None] = field(default_factory=dict)
    dropped_annotations: Sequence[DroppedAnnotation] = ()
    unreadable_tasks: Sequence[UnreadableTask] = ()


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """A version that did not load, and why; `failed_at` is in UTC."""

    version: str
    reason: str
    failed_at: datetime


@dataclass(frozen=True, slots=True)
class TierState:
    """The served version of a tier.

    Attributes:
        manifest: None if no version is served.
        serving_since: In UTC.
        runtime: The library that runs the model, for people; empty if unknown.
        loading_version: The version being loaded.
        load_failures: Versions that should be served and do not load, the latest first.
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
    """Requests to one route since the server started.

    Attributes:
        client_errors: Answered with a status from 400 to 499.
        server_errors: Answered with a status from 500.
        median_seconds: Of the last `telemetry.MAX_LATENCY_SAMPLES` requests, exactly.
        p95_seconds: The 95th percentile of the same requests.
    """

    route: str
    requests: int
    client_errors: int
    server_errors: int
    median_seconds: float
    p95_seconds: float


@dataclass(slots=True)
class ProjectState:
    """Requests of one project to one tier, since the project was first seen.

    Attributes:
        project: Its id in Label Studio; empty where requests have none.
        last_seen_at: Time of the last request, in UTC.
        labels: Of the last request: model label -> label of the project, or None.
        dropped_regions: (model label, reason) -> entities found and not returned.
        unreadable_tasks: Reason -> tasks.
        messages: Reason -> the last message of an unreadable task.
    """

    project: str
    tier: str
    last_seen_at: datetime
    requests: int = 0
    tasks: int = 0
    regions: int = 0
    labels: dict[str, str | None] = field(default_factory=dict)
    dropped_regions: Counter[tuple[str, str]] = field(default_factory=Counter)
    unreadable_tasks: Counter[str] = field(default_factory=Counter)
    messages: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole server at one moment; times are in UTC."""

    taken_at: datetime
    started_at: datetime
    tiers: tuple[TierState, ...]
    routes: tuple[RouteStats, ...] = ()  # the most used first
    projects: tuple[ProjectState, ...] = ()  # the last seen first
    in_flight: int = 0  # requests being answered
