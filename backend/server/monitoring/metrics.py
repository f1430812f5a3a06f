"""The series of Prometheus: their names, labels and buckets."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from tagalong.backend.models.registry import TIER_SPECS

# Seconds: /health owes an answer in 0.1, webhooks in 1, and /predict in 100.
LATENCY_BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 100)
# Of LLMs. The share of drafts that were right is agreed / slots.
DECODING_COUNTERS = {
    "documents": "Documents decoded",
    "passes": "Model calls in sequence, summed over windows",
    "slots": "Words tagged",
    "tokens": "Tokens run through the model",
    "agreed": "Words whose drafted tag was right",
}


class PrometheusMetrics:
    """All series, with what is known of the process; those of a tier are there from the start.

    Args:
        registry: Takes them in.
        tiers: All there are.
    """

    def __init__(self, registry: CollectorRegistry, tiers: Sequence[str]) -> None:
        self.requests = Counter(
            "tagalong_http_requests", "Requests answered", ["route", "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "tagalong_http_request_seconds",
            "Time to answer a request",
            ["route"],
            buckets=LATENCY_BUCKETS_SECONDS,
            registry=registry,
        )
        self.requests_in_flight = Gauge(
            "tagalong_http_requests_in_flight", "Requests being answered", registry=registry
        )
        self.tasks_predicted = Counter(
            "tagalong_tasks_predicted", "Tasks answered", ["tier"], registry=registry
        )
        self.regions_predicted = Counter(
            "tagalong_regions_predicted", "Regions returned", ["tier"], registry=registry
        )
        self.regions_dropped = Counter(
            "tagalong_regions_dropped",
            "Regions found and not returned",
            ["tier", "reason"],
            registry=registry,
        )
        self.unreadable_tasks = Counter(
            "tagalong_tasks_unread",
            "Tasks whose text could not be read",
            ["tier", "reason"],
            registry=registry,
        )
        self.webhook_events = Counter(
            "tagalong_webhook_events", "Webhook events that came", ["action"], registry=registry
        )
        self.finished_jobs = Counter(
            "tagalong_trainings", "Trainings that ended", ["tier", "state"], registry=registry
        )
        self.model_info = Gauge(
            "tagalong_model_info",
            "1 for the version that serves",
            ["tier", "version", "base"],
            registry=registry,
        )
        self.load_seconds = Gauge(
            "tagalong_model_load_seconds",
            "Time it took to load the version that serves",
            ["tier"],
            registry=registry,
        )
        self.load_failures = Counter(
            "tagalong_model_load_failures",
            "Versions that did not load",
            ["tier"],
            registry=registry,
        )
        self.load_failing = Gauge(
            "tagalong_model_load_failing",
            "Versions that should serve and do not load",
            ["tier"],
            registry=registry,
        )
        self.decoding_counters = {
            name: Counter(f"tagalong_decoding_{name}", text, ["tier"], registry=registry)
            for name, text in DECODING_COUNTERS.items()
        }
        for counter in self.decoding_counters.values():
            for tier in tiers:
                if tier in TIER_SPECS and TIER_SPECS[tier].counts_decoding:
                    counter.labels(tier)
        per_tier = (
            self.tasks_predicted,
            self.regions_predicted,
            self.load_failures,
            self.load_failing,
        )
        for tier in tiers:
            for metric in per_tier:
                metric.labels(tier)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
