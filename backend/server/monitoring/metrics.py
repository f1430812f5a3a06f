"""The Prometheus series: names, labels and buckets. They are also the counts of the status page."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from tagalong.backend.models.tier_specs import TIER_SPECS

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


class PrometheusMetrics:
    """All series of one registry. Those of a tier exist from the start, with value 0."""

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
        self.tasks_predicted = counter("tasks_predicted", "Tasks answered", "tier")
        self.regions_predicted = counter("regions_predicted", "Regions returned", "tier")
        dropped, unread = "Regions found and not returned", "Tasks whose text could not be read"
        self.regions_dropped = counter("regions_dropped", dropped, "tier", "reason")
        self.unreadable_tasks = counter("tasks_unread", unread, "tier", "reason")
        self.webhook_events = counter("webhook_events", "Webhook events received", "action")
        self.finished_jobs = counter("trainings", "Retraining jobs that ended", "tier", "state")
        served, seconds = "1 for the version being served", "Time to load the version being served"
        self.model_info = gauge("model_info", served, "tier", "version", "base")
        self.load_seconds = gauge("model_load_seconds", seconds, "tier")
        self.load_failures = counter("model_load_failures", "Versions that did not load", "tier")
        failing = "Versions that should be served and do not load"
        self.load_failing = gauge("model_load_failing", failing, "tier")
        self.decoding_counters = {
            name: counter(f"decoding_{name}", text, "tier")
            for name, text in DECODING_COUNTERS.items()
        }
        for tier, spec in TIER_SPECS.items():
            for metric in (self.tasks_predicted, self.regions_predicted, self.load_failures):
                metric.labels(tier)
            self.load_failing.labels(tier)
            for decoding in self.decoding_counters.values() if spec.counts_decoding else ():
                decoding.labels(tier)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)


def read_values(metric: MetricWrapperBase) -> dict[tuple[str, ...], int]:
    """Read a counter or gauge of whole numbers: label values -> value."""
    samples = [sample for family in metric.collect() for sample in family.samples]
    return {
        tuple(sample.labels.values()): int(sample.value)
        for sample in samples
        if not sample.name.endswith("_created")  # the time stamp beside each counter
    }
