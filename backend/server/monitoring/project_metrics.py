"""Metrics of each project; as clients choose the names, the number of series is bounded."""

from prometheus_client import CollectorRegistry, Counter

from tagalong.backend.server.monitoring.snapshot import RequestStats
from tagalong.backend.storage.project_key import ProjectKey

# Pairs of project and tier: the first ones, because a series stays until the server stops.
MAX_PROJECT_SERIES = 100
OTHER_PROJECTS = "other"
UNKNOWN_PROJECT = "unknown"  # of requests that name none
PROJECT_COUNTERS = {
    "requests": "Requests for predictions",
    "tasks": "Tasks answered",
    "regions": "Regions returned",
    "regions_dropped": "Regions found and not returned",
    "tasks_unread": "Tasks whose text could not be read",
}


class ProjectMetrics:
    """Counters by tier and project, as ``7.1795354311``; not thread-safe."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counters = {
            name: Counter(
                f"tagalong_project_{name}",
                f"{text}, by project",
                ["tier", "project"],
                registry=registry,
            )
            for name, text in PROJECT_COUNTERS.items()
        }
        self._known: set[tuple[str, str]] = set()

    def count(self, project: ProjectKey | None, tier: str, stats: RequestStats) -> None:
        """Count a request; projects beyond the bound are counted together."""
        labels = tier, UNKNOWN_PROJECT if project is None else str(project)
        if labels not in self._known and len(self._known) >= MAX_PROJECT_SERIES:
            labels = tier, OTHER_PROJECTS
        else:
            self._known.add(labels)
        counts = (
            1,
            stats.tasks,
            stats.regions,
            len(stats.dropped_annotations),
            len(stats.unreadable_tasks),
        )
        for counter, count in zip(self._counters.values(), counts, strict=True):
            counter.labels(*labels).inc(count)
