"""What happens on the server, as numbers for Prometheus and as a snapshot for the status page.

Every method is safe from many threads and never fails. Names of routes, reasons and actions are
bounded, and names of projects and labels never reach Prometheus, where each would be a new series.
"""

import math
import threading
from collections import Counter as Tally
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from tagalong.backend.events.payload import ACTIONS
from tagalong.backend.models.llm.decoding_stats import DecodingStats
from tagalong.backend.models.registry import TIER_SPECS
from tagalong.backend.retraining.job import Job
from tagalong.backend.server.monitoring.metrics import PrometheusMetrics
from tagalong.backend.server.monitoring.projects import (
    OTHER,
    BoundedNames,
    ProjectTracker,
    truncate_text,
)
from tagalong.backend.server.monitoring.snapshot import (
    LoadFailure,
    RequestStats,
    RouteStats,
    Snapshot,
    TierState,
    UnreadableTask,
)
from tagalong.ner.manifest import Manifest

MAX_LATENCY_SAMPLES = (
    512  # requests of a route, the last ones, that the page's latencies are drawn from
)
MAX_ROUTES, MAX_REASONS = 32, 16  # told apart at most; the rest is counted as one
MAX_LISTED_FAILURES = 4  # versions of a tier that do not load
MAX_REASON_CHARACTERS = 600  # characters of why
CONTENT_TYPE = CONTENT_TYPE_LATEST


@dataclass(slots=True)
class _RouteSamples:
    """What is known of one route."""

    status_counts: Tally[int] = field(default_factory=Tally)  # by hundreds: 2, 4, 5
    latencies_seconds: deque[float] = field(
        default_factory=lambda: deque(maxlen=MAX_LATENCY_SAMPLES)
    )


class Telemetry:
    """Counts what happens.

    Args:
        tiers: Names; None for all that are served.
    """

    content_type = CONTENT_TYPE

    def __init__(self, tiers: Iterable[str] | None = None) -> None:
        tiers = tuple(TIER_SPECS if tiers is None else tiers)
        self.registry = CollectorRegistry()
        self._metrics = PrometheusMetrics(self.registry, tiers)
        self._metrics.requests_in_flight.set_function(lambda: self._in_flight)
        self._lock = threading.Lock()
        self._started_at = datetime.now(UTC)
        self._tiers = {tier: TierState(tier) for tier in tiers}
        self._routes: dict[str, _RouteSamples] = {}
        self._project_tracker = ProjectTracker()
        self._in_flight = 0
        self._route_names, self._reason_names = BoundedNames(MAX_ROUTES), BoundedNames(MAX_REASONS)

    def record_request_started(self) -> None:
        """A request has come; `left` follows, whatever becomes of it."""
        with self._lock:
            self._in_flight += 1

    def record_request_ended(self) -> None:
        """A request that had `arrived` is over."""
        with self._lock:
            self._in_flight -= 1

    def record_response(self, route: str, status: int, seconds: float) -> None:
        """A request was answered.

        Args:
            route: The rule that matched, never the path that was asked for.
            status: Of the answer.
            seconds: It took.
        """
        with self._lock:
            route = self._route_names.resolve(route)
            state = self._routes.setdefault(route, _RouteSamples())
            state.status_counts[status // 100] += 1
            state.latencies_seconds.append(seconds)
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)

    def record_predictions(self, project: str, tier: str, stats: RequestStats) -> None:
        """A request for predictions was answered.

        Args:
            project: Its id; empty where the request did not say.
            tier: Which answered.
            stats: What became of it.
        """
        with self._lock:
            unread = [
                UnreadableTask(self._reason_names.resolve(unread.reason), unread.message)
                for unread in stats.unreadable_tasks
            ]
            stats = replace(stats, unreadable_tasks=unread)
            state = self._tiers[tier]
            self._tiers[tier] = replace(
                state, tasks=state.tasks + stats.tasks, regions=state.regions + stats.regions
            )
            self._project_tracker.record_request(
                project, tier, stats, received_at=datetime.now(UTC)
            )
        self._metrics.tasks_predicted.labels(tier).inc(stats.tasks)
        self._metrics.regions_predicted.labels(tier).inc(stats.regions)
        for lost_reason, count in Tally(lost.reason for lost in stats.dropped_annotations).items():
            self._metrics.regions_dropped.labels(tier, lost_reason).inc(count)
        for reason, count in Tally(item.reason for item in unread).items():
            self._metrics.unreadable_tasks.labels(tier, reason).inc(count)

    def record_webhook_event(self, action: str) -> None:
        """A webhook event has come.

        Args:
            action: What Label Studio calls it; one that it does not have counts as another.
        """
        self._metrics.webhook_events.labels(action if action in ACTIONS else OTHER).inc()

    def on_load_started(self, tier: str, version: str) -> None:
        """A version is being loaded; `loaded` or `load_failed` follows.

        Args:
            tier: Of the version.
            version: Its name.
        """
        with self._lock:
            self._tiers[tier] = replace(self._tiers[tier], loading_version=version)

    def on_loaded(self, tier: str, manifest: Manifest, *, seconds: float) -> None:
        """A version serves from now on.

        Args:
            tier: Of the version.
            manifest: Of the version.
            seconds: It took to load.
        """
        with self._lock:
            state = self._tiers[tier]
            self._tiers[tier] = replace(
                state,
                manifest=manifest,
                serving_since=datetime.now(UTC),
                load_seconds=seconds,
                runtime="",
                loading_version=None,
                load_failures=_failures_except(state.load_failures, manifest.version),
            )
            if state.manifest is not None:
                self._metrics.model_info.remove(*_model_labels(state.manifest, tier))
            self._metrics.model_info.labels(*_model_labels(manifest, tier)).set(1)
            self._metrics.load_failing.labels(tier).set(len(self._tiers[tier].load_failures))
        self._metrics.load_seconds.labels(tier).set(seconds)

    def on_runtime_changed(self, tier: str, name: str) -> None:
        """What runs the version that serves.

        Args:
            tier: Of the version.
            name: In words.
        """
        with self._lock:
            self._tiers[tier] = replace(self._tiers[tier], runtime=name)

    def on_load_failed(self, tier: str, version: str, reason: str) -> None:
        """A version did not load, or would not again; what served before still does.

        Args:
            tier: Of the version.
            version: Its name.
            reason: What was found and what to do.
        """
        failure = LoadFailure(
            version, truncate_text(reason, MAX_REASON_CHARACTERS), datetime.now(UTC)
        )
        with self._lock:
            state = self._tiers[tier]
            failures = (failure, *_failures_except(state.load_failures, version))[
                :MAX_LISTED_FAILURES
            ]
            self._tiers[tier] = replace(state, loading_version=None, load_failures=failures)
        self._metrics.load_failures.labels(tier).inc()
        self._metrics.load_failing.labels(tier).set(len(failures))

    def on_load_failure_cleared(self, tier: str, version: str) -> None:
        """A version that did not load is not wanted any more, or is whole again.

        Args:
            tier: Of the version.
            version: Its name.
        """
        with self._lock:
            state = self._tiers[tier]
            failures = _failures_except(state.load_failures, version)
            self._tiers[tier] = replace(state, load_failures=failures)
        self._metrics.load_failing.labels(tier).set(len(failures))

    def on_unloaded(self, tier: str) -> None:
        """The tier has no current version any more, and the loaded one was dropped.

        Args:
            tier: Its name.
        """
        with self._lock:
            state = self._tiers[tier]
            if state.manifest is not None:
                self._metrics.model_info.remove(*_model_labels(state.manifest, tier))
            self._tiers[tier] = replace(
                state,
                manifest=None,
                serving_since=None,
                load_seconds=None,
                runtime="",
                loading_version=None,
            )

    def on_decoded(self, tier: str, cost: DecodingStats) -> None:
        """Some documents were decoded.

        Args:
            tier: By which.
            cost: What it took.
        """
        for name, count in cost.to_json().items():
            self._metrics.decoding_counters[name].labels(tier).inc(count)

    def record_job(self, job: Job) -> None:
        """A training has ended.

        Args:
            job: The training.
        """
        self._metrics.finished_jobs.labels(job.tier, job.state).inc()

    def render_exposition(self) -> bytes:
        """Everything in Prometheus's text format, whose type is `content_type`."""
        return generate_latest(self.registry)

    def take_snapshot(self) -> Snapshot:
        """Everything the status page shows."""
        with self._lock:
            routes = [_compute_route_stats(route, state) for route, state in self._routes.items()]
            return Snapshot(
                taken_at=datetime.now(UTC),
                started_at=self._started_at,
                tiers=tuple(self._tiers.values()),
                routes=tuple(sorted(routes, key=lambda state: (-state.requests, state.route))),
                projects=self._project_tracker.read_states(),
                in_flight=self._in_flight,
            )


def _model_labels(manifest: Manifest, tier: str) -> tuple[str, str, str]:
    """What tells a version apart in Prometheus."""
    return tier, manifest.version, manifest.base


def _failures_except(failures: Sequence[LoadFailure], version: str) -> tuple[LoadFailure, ...]:
    """Failures of other versions."""
    return tuple(failure for failure in failures if failure.version != version)


def _compute_route_stats(route: str, state: _RouteSamples) -> RouteStats:
    """What the page shows of a route; the latencies are of the nearest rank."""
    ordered = sorted(state.latencies_seconds)
    return RouteStats(
        route=route,
        requests=state.status_counts.total(),
        client_errors=state.status_counts[4],
        server_errors=state.status_counts[5],
        median_seconds=ordered[math.ceil(0.5 * len(ordered)) - 1],
        p95_seconds=ordered[math.ceil(0.95 * len(ordered)) - 1],
    )
