"""Records what happens on the server, for Prometheus and for the status page.

Each event is counted once, in a Prometheus series, which the page reads. Names of labels are kept
beside the series, because each would be a new series in Prometheus; and so are exact latencies.
All methods are thread-safe and none fails.
"""

import collections
import math
import threading
from collections import OrderedDict, deque
from collections.abc import Collection
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from tagalong.backend.models.tagger import DecodingStats
from tagalong.backend.models.tier_specs import TIER_SPECS
from tagalong.backend.retraining.job import Job
from tagalong.backend.server.monitoring.project_metrics import ProjectMetrics
from tagalong.backend.server.monitoring.snapshot import (
    ModelState,
    PoolState,
    ProjectState,
    RequestStats,
    RouteStats,
    Snapshot,
)
from tagalong.backend.storage.project_key import ProjectKey

# /health should take 0.1 s. Label Studio waits 1 s for a webhook and 100 s for /predict.
LATENCY_BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 100)
# Of LLMs. The accuracy of the drafts is agreed / slots.
DECODING_COUNTERS = {
    "documents": "Documents decoded",
    "passes": "Model calls in sequence, summed over windows",
    "slots": "Words tagged",
    "tokens": "Tokens run through the model",
    "agreed": "Words whose drafted tag was right",
}
POOL_GAUGES = {
    "models_loaded": "Models that are loaded or being loaded",
    "memory_bound_bytes": "Memory of the process beyond which models are unloaded",
    "assignments_failing": "Assigned models in whose place the default one answers",
    "assignments_unreadable": "1 if the file of assignments cannot be read",
}
MODEL_LABELS = ("tier", "model")
MAX_LATENCY_SAMPLES = 512  # last requests of a route, for the exact latencies on the page
# Clients choose the names of projects and labels, so their collections are bounded.
MAX_PROJECTS = 100  # pairs of project and tier; the least recently seen is dropped
MAX_LABELS = 48  # of one project; further ones are counted as OTHER
OTHER = "other"
MAX_NAME_CHARACTERS = 80
MAX_MESSAGE_CHARACTERS = 400


class PrometheusMetrics:
    """All series of one registry. Those of default models exist from the start, with value 0."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"tagalong_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"tagalong_{name}", text, labels, registry=registry)

        self.requests = counter("http_requests", "Requests answered", "route", "status")
        self.request_seconds = Histogram(
            "tagalong_http_request_seconds",
            "Time to answer a request",
            ["route"],
            buckets=LATENCY_BUCKETS_SECONDS,
            registry=registry,
        )
        self.requests_in_flight = gauge("http_requests_in_flight", "Requests being answered")
        self.tasks_predicted = counter("tasks_predicted", "Tasks answered", *MODEL_LABELS)
        self.regions_predicted = counter("regions_predicted", "Regions returned", *MODEL_LABELS)
        dropped, unread = "Regions found and not returned", "Tasks whose text could not be read"
        self.regions_dropped = counter("regions_dropped", dropped, "tier", "reason")
        self.unreadable_tasks = counter("tasks_unread", unread, "tier", "reason")
        self.webhook_events = counter("webhook_events", "Webhook events received", "action")
        refused = "Webhook events that could not be stored"
        self.refused_events = counter("webhook_events_refused", refused)
        self.finished_jobs = counter("trainings", "Retraining jobs that ended", "tier", "state")
        served, seconds = "1 for the version being served", "Time to load the version being served"
        self.model_info = gauge("model_info", served, *MODEL_LABELS, "version", "base")
        self.load_seconds = gauge("model_load_seconds", seconds, *MODEL_LABELS)
        self.load_failures = counter(
            "model_load_failures", "Versions that did not load", *MODEL_LABELS
        )
        failing = "Versions that should be served and do not load"
        self.load_failing = gauge("model_load_failing", failing, *MODEL_LABELS)
        self.pool_gauges = {name: gauge(name, text) for name, text in POOL_GAUGES.items()}
        self.decoding_counters = {
            name: counter(f"decoding_{name}", text, "tier")
            for name, text in DECODING_COUNTERS.items()
        }
        for tier, spec in TIER_SPECS.items():
            for metric in (self.tasks_predicted, self.regions_predicted, self.load_failures):
                metric.labels(tier, tier)
            self.load_failing.labels(tier, tier)
            for decoding in self.decoding_counters.values() if spec.counts_decoding else ():
                decoding.labels(tier)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)


class Telemetry:
    """The record of one server; `registry` has its Prometheus series."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._metrics = PrometheusMetrics(self.registry)
        self._project_metrics = ProjectMetrics(self.registry)
        self._pool = PoolState()
        self._lock = threading.Lock()
        self._started_at = datetime.now(UTC)
        # By name; a default model has the name of its tier.
        self._models = {tier: ModelState(tier, tier) for tier in TIER_SPECS}
        self._latencies: dict[str, deque[float]] = {}  # seconds, by route
        self._projects: OrderedDict[tuple[ProjectKey | None, str], ProjectState] = OrderedDict()

    def count_in_flight(self, change: int) -> None:
        """Count requests being answered: 1 at the start of one, -1 at its end."""
        self._metrics.requests_in_flight.inc(change)

    def record_response(self, route: str, status: int, seconds: float) -> None:
        """Record an answer; `route` is the matching URL rule, never the requested path."""
        with self._lock:  # a snapshot must find latencies for every route that was counted
            latencies = self._latencies.setdefault(route, deque(maxlen=MAX_LATENCY_SAMPLES))
            latencies.append(seconds)
            self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)

    def record_predictions(
        self, project: ProjectKey | None, tier: str, stats: RequestStats
    ) -> None:
        """Record a request for predictions. The reasons of dropped annotations must be few."""
        metrics = self._metrics
        metrics.tasks_predicted.labels(tier, stats.model).inc(stats.tasks)
        metrics.regions_predicted.labels(tier, stats.model).inc(stats.regions)
        with self._lock:
            state = self._project_state(project, tier)
            state.model, state.version = stats.model, stats.version
            state.requests += 1
            state.tasks += stats.tasks
            state.regions += stats.regions
            self._project_metrics.count(project, tier, stats)
            state.labels = {
                truncate_text(label): None if name is None else truncate_text(name)
                for label, name in list(stats.labels.items())[:MAX_LABELS]
            }
            state.unpredicted = [truncate_text(label) for label in stats.unpredicted[:MAX_LABELS]]
            for dropped in stats.dropped_annotations:
                metrics.regions_dropped.labels(tier, dropped.reason).inc()
                # Labels only here, not in Prometheus, where each would be a new series.
                label, known = (
                    truncate_text(dropped.label),
                    {key[0] for key in state.dropped_regions},
                )
                label = label if label in known or len(known) < MAX_LABELS else OTHER
                state.dropped_regions[label, dropped.reason] += 1
            for task in stats.unreadable_tasks:
                metrics.unreadable_tasks.labels(tier, task.reason).inc()
                state.unreadable_tasks[task.reason] += 1
                state.messages[task.reason] = truncate_text(task.message, MAX_MESSAGE_CHARACTERS)

    def _project_state(self, project: ProjectKey | None, tier: str) -> ProjectState:
        """The state of a project, now the last one seen."""
        now = datetime.now(UTC)
        state = self._projects.setdefault((project, tier), ProjectState(project, tier, now))
        state.last_seen_at = now
        self._projects.move_to_end((project, tier))
        if len(self._projects) > MAX_PROJECTS:
            self._projects.popitem(last=False)
        return state

    def record_webhook_event(self, action: str) -> None:
        """Count a webhook event; the action must be one of Label Studio's."""
        self._metrics.webhook_events.labels(action).inc()

    def record_refused_event(self) -> None:
        """Count a webhook event that could not be stored."""
        self._metrics.refused_events.inc()

    def record_model_state(self, state: ModelState) -> None:
        """Record the served version of a model, and set the series that follow from it."""
        metrics, labels = self._metrics, (state.tier, state.model)
        with self._lock:
            before = self._models.get(state.model, ModelState(*labels[::-1]))
            self._models[state.model] = state
            failures = len({*state.load_failures} - {*before.load_failures})
            metrics.load_failures.labels(*labels).inc(failures)
            metrics.load_failing.labels(*labels).set(len(state.load_failures))
            if before.manifest is not None:  # a series per version: the last one has to go
                metrics.model_info.remove(*labels, before.manifest.version, before.manifest.base)
            if (manifest := state.manifest) is not None:
                metrics.model_info.labels(*labels, manifest.version, manifest.base).set(1)
            if state.load_seconds is not None:
                metrics.load_seconds.labels(*labels).set(state.load_seconds)

    def forget_model(self, model: str, tier: str) -> None:
        """Forget the served version of a model that was unloaded."""
        self.record_model_state(ModelState(model, tier))
        with self._lock:
            if model not in TIER_SPECS:
                del self._models[model]

    def record_pool(self, pool: PoolState) -> None:
        """Record which models are loaded, and which assignments do not hold."""
        values = (
            len(pool.loaded),
            pool.max_bytes,
            sum(bool(assignment.fault) for assignment in pool.assignments),
            bool(pool.assignments_error),
        )
        for gauge, value in zip(self._metrics.pool_gauges.values(), values, strict=True):
            gauge.set(value)
        with self._lock:
            self._pool = pool

    def on_decoded(self, tier: str, stats: DecodingStats) -> None:
        """Count the decoding of some documents."""
        for name, count in stats.to_json().items():
            self._metrics.decoding_counters[name].labels(tier).inc(count)

    def record_job(self, job: Job) -> None:
        """Count a retraining job that has ended."""
        self._metrics.finished_jobs.labels(job.tier, job.state).inc()

    def take_snapshot(self) -> Snapshot:
        """Everything that the status page shows."""
        with self._lock:
            tasks = _read_values(self._metrics.tasks_predicted)
            regions = _read_values(self._metrics.regions_predicted)
            return Snapshot(
                taken_at=datetime.now(UTC),
                started_at=self._started_at,
                models=tuple(
                    replace(
                        state,
                        tasks=tasks.get((state.tier, model), 0),
                        regions=regions.get((state.tier, model), 0),
                    )
                    for model, state in self._models.items()
                ),
                routes=self._route_stats(),
                # Copies, because the states go on counting while the page is rendered.
                projects=tuple(deepcopy(list(reversed(self._projects.values())))),
                pool=self._pool,
            )

    def _route_stats(self) -> tuple[RouteStats, ...]:
        classes = collections.Counter[tuple[str, int]]()  # (route, first digit of the status)
        for (route, status), requests in _read_values(self._metrics.requests).items():
            classes[route, int(status) // 100] += requests
        routes = [
            RouteStats(
                route=route,
                requests=sum(count for (name, _), count in classes.items() if name == route),
                client_errors=classes[route, 4],
                server_errors=classes[route, 5],
                median_seconds=_nearest_rank(latencies, 0.5),
                p95_seconds=_nearest_rank(latencies, 0.95),
            )
            for route, latencies in self._latencies.items()
        ]
        return tuple(sorted(routes, key=lambda stats: (-stats.requests, stats.route)))


def _read_values(metric: MetricWrapperBase) -> dict[tuple[str, ...], int]:
    """Read a counter or gauge of whole numbers: label values -> value."""
    samples = [sample for family in metric.collect() for sample in family.samples]
    return {
        tuple(sample.labels.values()): int(sample.value)
        for sample in samples
        if not sample.name.endswith("_created")  # the time stamp beside each counter
    }


def truncate_text(text: str, max_characters: int = MAX_NAME_CHARACTERS) -> str:
    """Cut a long text, with an ellipsis, and escape what UTF-8 cannot hold.

    JSON may contain half a surrogate pair; escaping makes it longer than `max_characters`.
    """
    if len(text) > max_characters:
        text = text[: max_characters - 1] + "…"
    return text.encode("utf-8", "backslashreplace").decode()


def _nearest_rank(values: Collection[float], share: float) -> float:
    """The percentile by the nearest-rank method: always one of the values."""
    return sorted(values)[math.ceil(share * len(values)) - 1]
