"""What happens on the server, as numbers for Prometheus and as a snapshot for the status page.

Every method is safe from many threads and never fails. Names of routes, reasons and actions are
bounded, and names of projects and labels never reach Prometheus, where each would be a new series.
"""

import math
import threading
from collections import Counter as Tally
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from backend.llm.cost import Cost
from backend.retraining.run import Run
from backend.server.events import ACTIONS
from backend.server.metrics import Metrics
from backend.server.projects import OTHER, Names, ProjectBook, displayable
from backend.server.settings import TIERS
from backend.server.snapshot import LoadFailure, Outcome, RouteState, Snapshot, TierState, Unread
from ner.manifest import Manifest

SAMPLE = 512  # requests of a route, the last ones, that the page's latencies are drawn from
ROUTES, REASONS = 32, 16  # told apart at most; the rest is counted as one
SHOWN_FAILURES = 4  # versions of a tier that do not load
REASON_LENGTH = 600  # characters of why
CONTENT_TYPE = CONTENT_TYPE_LATEST


@dataclass(slots=True)
class _Route:
    """What is known of one route."""

    statuses: Tally[int] = field(default_factory=Tally)  # by hundreds: 2, 4, 5
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLE))


class Telemetry:
    """Counts what happens.

    Args:
        tiers: All there are.
    """

    content_type = CONTENT_TYPE

    def __init__(self, tiers: Sequence[str] = TIERS) -> None:
        self.registry = CollectorRegistry()
        self._metrics = Metrics(self.registry, tiers)
        self._metrics.in_flight.set_function(lambda: self._in_flight)
        self._lock = threading.Lock()
        self._started = datetime.now(UTC)
        self._tiers = {tier: TierState(tier) for tier in tiers}
        self._routes: dict[str, _Route] = {}
        self._projects = ProjectBook()
        self._in_flight = 0
        self._known_routes, self._known_reasons = Names(ROUTES), Names(REASONS)

    def arrived(self) -> None:
        """A request has come; `left` follows, whatever becomes of it."""
        with self._lock:
            self._in_flight += 1

    def left(self) -> None:
        """A request that had `arrived` is over."""
        with self._lock:
            self._in_flight -= 1

    def request(self, route: str, status: int, seconds: float) -> None:
        """A request was answered.

        Args:
            route: The rule that matched, never the path that was asked for.
            status: Of the answer.
            seconds: It took.
        """
        with self._lock:
            route = self._known_routes.bounded(route)
            state = self._routes.setdefault(route, _Route())
            state.statuses[status // 100] += 1
            state.seconds.append(seconds)
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)

    def predicted(self, project: str, tier: str, outcome: Outcome) -> None:
        """A request for predictions was answered.

        Args:
            project: Its id; empty where the request did not say.
            tier: Which answered.
            outcome: What became of it.
        """
        with self._lock:
            unread = [
                Unread(self._known_reasons.bounded(unread.reason), unread.sentence)
                for unread in outcome.unread
            ]
            outcome = replace(outcome, unread=unread)
            state = self._tiers[tier]
            self._tiers[tier] = replace(
                state, tasks=state.tasks + outcome.tasks, regions=state.regions + outcome.regions
            )
            self._projects.note(project, tier, outcome, at=datetime.now(UTC))
        self._metrics.tasks.labels(tier).inc(outcome.tasks)
        self._metrics.regions.labels(tier).inc(outcome.regions)
        for lost_reason, count in Tally(lost.reason for lost in outcome.lost).items():
            self._metrics.dropped.labels(tier, lost_reason).inc(count)
        for reason, count in Tally(item.reason for item in unread).items():
            self._metrics.unread.labels(tier, reason).inc(count)

    def event(self, action: str) -> None:
        """A webhook event has come.

        Args:
            action: What Label Studio calls it; one that it does not have counts as another.
        """
        self._metrics.events.labels(action if action in ACTIONS else OTHER).inc()

    def loading(self, tier: str, version: str) -> None:
        """A version is being loaded; `loaded` or `load_failed` follows.

        Args:
            tier: Of the version.
            version: Its name.
        """
        with self._lock:
            self._tiers[tier] = replace(self._tiers[tier], loading=version)

    def loaded(self, tier: str, manifest: Manifest, *, seconds: float) -> None:
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
                since=datetime.now(UTC),
                load_seconds=seconds,
                runs_on="",
                loading=None,
                failures=_without(state.failures, manifest.version),
            )
            if state.manifest is not None:
                self._metrics.model.remove(*_model_labels(state.manifest, tier))
            self._metrics.model.labels(*_model_labels(manifest, tier)).set(1)
            self._metrics.load_failing.labels(tier).set(len(self._tiers[tier].failures))
        self._metrics.load_seconds.labels(tier).set(seconds)

    def runs_on(self, tier: str, name: str) -> None:
        """What runs the version that serves.

        Args:
            tier: Of the version.
            name: In words.
        """
        with self._lock:
            self._tiers[tier] = replace(self._tiers[tier], runs_on=name)

    def load_failed(self, tier: str, version: str, reason: str) -> None:
        """A version did not load, or would not again; what served before still does.

        Args:
            tier: Of the version.
            version: Its name.
            reason: What was found and what to do.
        """
        failure = LoadFailure(version, displayable(reason, REASON_LENGTH), datetime.now(UTC))
        with self._lock:
            state = self._tiers[tier]
            failures = (failure, *_without(state.failures, version))[:SHOWN_FAILURES]
            self._tiers[tier] = replace(state, loading=None, failures=failures)
        self._metrics.load_failures.labels(tier).inc()
        self._metrics.load_failing.labels(tier).set(len(failures))

    def load_forgiven(self, tier: str, version: str) -> None:
        """A version that did not load is not wanted any more, or is whole again.

        Args:
            tier: Of the version.
            version: Its name.
        """
        with self._lock:
            state = self._tiers[tier]
            failures = _without(state.failures, version)
            self._tiers[tier] = replace(state, failures=failures)
        self._metrics.load_failing.labels(tier).set(len(failures))

    def unloaded(self, tier: str) -> None:
        """The tier has no current version any more, and the loaded one was dropped.

        Args:
            tier: Its name.
        """
        with self._lock:
            state = self._tiers[tier]
            if state.manifest is not None:
                self._metrics.model.remove(*_model_labels(state.manifest, tier))
            self._tiers[tier] = replace(
                state, manifest=None, since=None, load_seconds=None, runs_on="", loading=None
            )

    def spent(self, tier: str, cost: Cost) -> None:
        """Some documents were decoded.

        Args:
            tier: By which.
            cost: What it took.
        """
        for name, counter in self._metrics.costs.items():
            counter.labels(tier).inc(getattr(cost, name))

    def trained(self, run: Run) -> None:
        """A training has ended.

        Args:
            run: The training.
        """
        self._metrics.trainings.labels(run.tier, run.state).inc()

    def exposition(self) -> bytes:
        """Everything in Prometheus's text format, whose type is `content_type`."""
        return generate_latest(self.registry)

    def snapshot(self) -> Snapshot:
        """Everything the status page shows."""
        with self._lock:
            routes = [_route_state(route, state) for route, state in self._routes.items()]
            return Snapshot(
                taken=datetime.now(UTC),
                started=self._started,
                tiers=tuple(self._tiers.values()),
                routes=tuple(sorted(routes, key=lambda state: (-state.requests, state.route))),
                projects=self._projects.states(),
                in_flight=self._in_flight,
            )


def _model_labels(manifest: Manifest, tier: str) -> tuple[str, str, str]:
    """What tells a version apart in Prometheus."""
    return tier, manifest.version, manifest.base


def _without(failures: Sequence[LoadFailure], version: str) -> tuple[LoadFailure, ...]:
    """Failures of other versions."""
    return tuple(failure for failure in failures if failure.version != version)


def _route_state(route: str, state: _Route) -> RouteState:
    """What the page shows of a route; the latencies are of the nearest rank."""
    ordered = sorted(state.seconds)
    return RouteState(
        route=route,
        requests=state.statuses.total(),
        refused=state.statuses[4],
        failed=state.statuses[5],
        median=ordered[math.ceil(0.5 * len(ordered)) - 1],
        p95=ordered[math.ceil(0.95 * len(ordered)) - 1],
    )
