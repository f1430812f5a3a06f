"""The state of the server at one moment, as the status page shows it.

Clients choose the names of projects and labels. So every collection here is bounded, and long
names are cut. No text of a document is stored.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tagalong.backend.storage.project_key import ProjectKey
from tagalong.ner.document import DroppedAnnotation
from tagalong.ner.manifest import Manifest


@dataclass(frozen=True, slots=True)
class UnreadableTask:
    """A task without a usable text. Neither field has any text of a document."""

    reason: str  # a category of few words, such as "no text"
    message: str


@dataclass(frozen=True, slots=True)
class RequestStats:
    """Numbers of one request for predictions."""

    model: str
    version: str
    tasks: int  # unreadable ones included
    regions: int
    labels: Mapping[str, str | None] = field(default_factory=dict)  # of the model -> of the project
    dropped_annotations: Sequence[DroppedAnnotation] = ()  # their texts are not kept
    unreadable_tasks: Sequence[UnreadableTask] = ()
    unpredicted: Sequence[str] = ()  # labels of the project that the model does not predict


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """A version that did not load, and why; `failed_at` is in UTC."""

    version: str
    reason: str
    failed_at: datetime


@dataclass(frozen=True, slots=True)
class ModelState:
    """The served version of a model."""

    model: str
    tier: str
    manifest: Manifest | None = None  # None if no version is served
    serving_since: datetime | None = None  # in UTC
    load_seconds: float | None = None
    runtime: str = ""  # the library that runs the model, for people; empty if unknown
    loading_version: str | None = None
    # Versions that should be served and do not load, the latest first.
    load_failures: tuple[LoadFailure, ...] = ()
    tasks: int = 0  # answered since the server started
    regions: int = 0  # returned since then


@dataclass(frozen=True, slots=True)
class RouteStats:
    """Requests to one route since the server started."""

    route: str
    requests: int
    client_errors: int  # answered with a status from 400 to 499
    server_errors: int  # answered with a status from 500
    median_seconds: float  # of the last `telemetry.MAX_LATENCY_SAMPLES` requests, exactly
    p95_seconds: float  # the 95th percentile of the same requests


@dataclass(slots=True)
class ProjectState:
    """Requests of one project to one tier, since the project was first seen."""

    project: ProjectKey | None  # None where requests name none
    tier: str
    last_seen_at: datetime  # in UTC
    model: str = ""  # that answered the last request
    version: str = ""  # of that model
    requests: int = 0
    tasks: int = 0
    regions: int = 0
    labels: dict[str, str | None] = field(default_factory=dict)  # of the last request
    unpredicted: list[str] = field(default_factory=list)  # at the last request
    dropped_regions: Counter[tuple[str, str]] = field(default_factory=Counter)  # label, reason
    unreadable_tasks: Counter[str] = field(default_factory=Counter)  # by reason
    messages: dict[str, str] = field(default_factory=dict)  # the last of each reason


@dataclass(frozen=True, slots=True)
class AssignmentState:
    """The model that is assigned to a project."""

    project: ProjectKey
    tier: str
    model: str
    fault: str = ""  # why the default model answers in its place; empty if it does not


@dataclass(frozen=True, slots=True)
class PoolState:
    """The models of the server, and which project has which."""

    loaded: Sequence[str] = ()  # or being loaded
    unloaded: list[str] = field(default_factory=list)  # are loaded when a request asks for them
    used_bytes: int = 0  # of the process; 0 if unknown
    max_bytes: int = 0
    assignments: Sequence[AssignmentState] = ()
    assignments_error: str | None = None  # why the file of assignments cannot be read


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole server at one moment; times are in UTC."""

    taken_at: datetime
    started_at: datetime
    models: tuple[ModelState, ...]  # the default ones first
    routes: tuple[RouteStats, ...] = ()  # the most used first
    projects: tuple[ProjectState, ...] = ()  # the last seen first
    pool: PoolState = field(default_factory=PoolState)
