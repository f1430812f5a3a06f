"""Metrics: correct, bounded, and without document text."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tagalong.backend.events.payload import ACTIONS
from tagalong.backend.retraining.job import Job, JobState
from tagalong.backend.server.monitoring.project_metrics import MAX_PROJECT_SERIES, OTHER_PROJECTS
from tagalong.backend.server.monitoring.snapshot import (
    AssignmentState,
    LoadFailure,
    ModelState,
    PoolState,
    RequestStats,
    Snapshot,
    UnreadableTask,
)
from tagalong.backend.server.monitoring.telemetry import (
    MAX_LABELS,
    MAX_LATENCY_SAMPLES,
    MAX_NAME_CHARACTERS,
    MAX_PROJECTS,
    OTHER,
    Telemetry,
)
from tagalong.backend.storage.project_key import ProjectKey
from tagalong.ner.document import DROP_REASONS, DroppedAnnotation
from tests.backend.server.app_client import post_json, request_for, serve_app, settings_in
from tests.backend.server.manifests import make_manifest

PROJECT = ProjectKey(2, 1795378435)
SECRET = "Mrs. Example took cisplatin"


def families(telemetry: Telemetry) -> Iterator[Metric]:
    return text_string_to_metric_families(generate_latest(telemetry.registry).decode())


def value(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    return telemetry.registry.get_sample_value(name, labels)


def series(telemetry: Telemetry) -> int:
    return sum(len(family.samples) for family in families(telemetry))


def encoder(snapshot: Snapshot) -> ModelState:
    return snapshot.models[0]


def lost(label: str, reason: str = "label unknown") -> DroppedAnnotation:
    return DroppedAnnotation(label, SECRET, reason, 0, 6, SECRET)  # type: ignore[arg-type]


def test_fresh_server_shows_only_its_tiers() -> None:
    telemetry = Telemetry()
    snapshot = telemetry.take_snapshot()
    assert snapshot.models == (ModelState("encoder", "encoder"), ModelState("llm", "llm"))
    assert (snapshot.routes, snapshot.projects) == ((), ())
    assert snapshot.started_at <= snapshot.taken_at
    assert value(telemetry, "tagalong_tasks_predicted_total", tier="llm", model="llm") == 0
    assert value(telemetry, "process_resident_memory_bytes") is not None


def test_requests_are_counted_by_route_and_status() -> None:
    telemetry = Telemetry()
    for status in (200, 200, 422, 500):
        telemetry.record_response("/predict", status, 0.3)
    telemetry.record_response("/health", 200, 0.002)
    first, second = telemetry.take_snapshot().routes
    assert (first.route, first.requests, first.client_errors, first.server_errors) == (
        "/predict",
        4,
        1,
        1,
    )
    assert (second.route, second.requests, second.client_errors, second.server_errors) == (
        "/health",
        1,
        0,
        0,
    )
    name = "tagalong_http_requests_total"
    assert value(telemetry, name, route="/predict", status="200") == 2
    assert value(telemetry, name, route="/predict", status="422") == 1
    bucket = "tagalong_http_request_seconds_bucket"
    assert value(telemetry, bucket, route="/predict", le="0.25") == 0
    assert value(telemetry, bucket, route="/predict", le="0.5") == 4


@given(seconds=st.lists(st.floats(0, 100), min_size=1, max_size=60))
def test_latency_quantiles_use_nearest_rank(seconds: list[float]) -> None:
    telemetry = Telemetry()
    for took in seconds:
        telemetry.record_response("/predict", 200, took)
    (route,) = telemetry.take_snapshot().routes
    assert sum(took <= route.median_seconds for took in seconds) * 2 >= len(seconds)
    assert sum(took < route.median_seconds for took in seconds) * 2 < len(seconds)
    assert sum(took <= route.p95_seconds for took in seconds) * 100 >= len(seconds) * 95
    assert sum(took < route.p95_seconds for took in seconds) * 100 < len(seconds) * 95


def test_latency_quantiles_cover_the_last_requests() -> None:
    telemetry = Telemetry()
    for took in [60.0] * 50 + [0.25] * MAX_LATENCY_SAMPLES:
        telemetry.record_response("/predict", 200, took)
    (route,) = telemetry.take_snapshot().routes
    assert (route.requests, route.median_seconds, route.p95_seconds) == (
        50 + MAX_LATENCY_SAMPLES,
        0.25,
        0.25,
    )


def test_answered_requests_are_not_in_flight(tmp_path: Path) -> None:
    with serve_app(settings_in(tmp_path)) as client:
        for path, body in (("/predict", request_for("x")), ("/predict", []), ("/nowhere", {})):
            post_json(client, path, body)
        telemetry = client.application.extensions["tagalong"].telemetry
        assert value(telemetry, "tagalong_http_requests_in_flight") == 0


def test_requests_in_flight_are_counted() -> None:
    telemetry = Telemetry()
    telemetry.count_in_flight(1)
    telemetry.count_in_flight(1)
    telemetry.count_in_flight(-1)
    assert value(telemetry, "tagalong_http_requests_in_flight") == 1


def test_loaded_version_replaces_the_previous_one() -> None:
    telemetry = Telemetry()
    first, second = make_manifest("first-1"), make_manifest("second-2")
    for state in (
        ModelState("encoder", "encoder", loading_version="first-1"),
        ModelState("encoder", "encoder", first, load_seconds=1.5, loading_version="second-2"),
        ModelState("encoder", "encoder", second, load_seconds=2.5),
    ):
        telemetry.record_model_state(state)
        assert encoder(telemetry.take_snapshot()) == state
    named = [
        sample.labels["version"]
        for family in families(telemetry)
        if family.name == "tagalong_model_info"
        for sample in family.samples
    ]
    assert named == ["second-2"]
    assert value(telemetry, "tagalong_model_load_seconds", tier="encoder", model="encoder") == 2.5


def test_unloaded_model_leaves_no_version() -> None:
    telemetry = Telemetry()
    for model in "encoder", "cardiology":
        telemetry.record_model_state(ModelState(model, "encoder", make_manifest("first-1")))
    assert [state.model for state in telemetry.take_snapshot().models] == [
        "encoder",
        "llm",
        "cardiology",
    ]
    for model in "encoder", "cardiology":
        telemetry.forget_model(model, "encoder")
    assert telemetry.take_snapshot().models == Telemetry().take_snapshot().models
    assert not [
        family
        for family in families(telemetry)
        if family.name == "tagalong_model_info" and family.samples
    ]


def test_load_failures_are_counted_once() -> None:
    telemetry = Telemetry()
    now = datetime.now(UTC)
    bad, worse = LoadFailure("bad-2", "it is gone", now), LoadFailure("worse-3", "it is cut", now)
    manifest = make_manifest("good-1")
    for failures, counted in (((bad,), 1), ((bad,), 1), ((worse, bad), 2), ((bad,), 2), ((), 2)):
        telemetry.record_model_state(
            ModelState("encoder", "encoder", manifest, load_failures=failures)
        )
        assert encoder(telemetry.take_snapshot()).load_failures == failures
        of_model = {"tier": "encoder", "model": "encoder"}
        assert value(telemetry, "tagalong_model_load_failures_total", **of_model) == counted
        assert value(telemetry, "tagalong_model_load_failing", **of_model) == len(failures)


def test_predictions_are_counted_by_project_and_tier() -> None:
    telemetry = Telemetry()
    unread = [
        UnreadableTask("no text", "task 4 has no text"),
        UnreadableTask("no text", "task 5 has no text"),
    ]
    telemetry.record_predictions(
        PROJECT,
        "encoder",
        RequestStats(
            "encoder",
            "v-1",
            tasks=4,
            regions=9,
            labels={"Chemical": "Drug", "Disease": None},
            dropped_annotations=[lost("Disease"), lost("Disease"), lost("Chemical", "overlap")],
            unreadable_tasks=unread,
        ),
    )
    telemetry.record_predictions(
        PROJECT,
        "encoder",
        RequestStats("encoder", "v-1", tasks=1, regions=1, labels={"Chemical": "Chem"}),
    )
    (project,) = telemetry.take_snapshot().projects
    assert (project.project, project.tier, project.requests) == (PROJECT, "encoder", 2)
    assert (project.tasks, project.regions) == (5, 10)
    assert project.labels == {"Chemical": "Chem"}
    assert project.dropped_regions == {("Disease", "label unknown"): 2, ("Chemical", "overlap"): 1}
    assert project.unreadable_tasks == {"no text": 2}
    assert project.messages == {"no text": "task 5 has no text"}
    state = encoder(telemetry.take_snapshot())
    assert (state.tasks, state.regions) == (5, 10)
    of_tier = {"tier": "encoder"}
    assert value(telemetry, "tagalong_tasks_predicted_total", model="encoder", **of_tier) == 5
    assert value(telemetry, "tagalong_regions_predicted_total", model="encoder", **of_tier) == 10
    dropped = "tagalong_regions_dropped_total"
    assert value(telemetry, dropped, reason="label unknown", **of_tier) == 2
    assert value(telemetry, "tagalong_tasks_unread_total", reason="no text", **of_tier) == 2


def test_projects_beyond_the_bound_are_counted_together() -> None:
    telemetry = Telemetry()
    outcome = RequestStats("encoder", "v-1", 4, 9, dropped_annotations=[lost("x")] * 2)
    for number in range(MAX_PROJECT_SERIES + 7):
        telemetry.record_predictions(ProjectKey(number, 5), "encoder", outcome)
    telemetry.record_predictions(ProjectKey(1, 5), "encoder", outcome)
    telemetry.record_predictions(None, "encoder", outcome)
    for project, requests in (("1.5", 2), ("99.5", 1), ("100.5", None), (OTHER_PROJECTS, 8)):
        labels = {"tier": "encoder", "project": project}
        for name, one in (("requests", 1), ("tasks", 4), ("regions", 9), ("regions_dropped", 2)):
            counted = value(telemetry, f"tagalong_project_{name}_total", **labels)
            assert counted == (None if requests is None else requests * one)


def test_pool_is_measured() -> None:
    telemetry = Telemetry()
    project = ProjectKey(3, 5)
    assignments = [
        AssignmentState(project, "encoder", "gone", "there is no model 'gone'"),
        AssignmentState(project, "llm", "words"),
    ]
    for error, unreadable in (("it is cut", 1), (None, 0)):
        pool = PoolState(["encoder"], ["words"], 5, 7, assignments, error)
        telemetry.record_pool(pool)
        assert telemetry.take_snapshot().pool == pool
        assert value(telemetry, "tagalong_models_loaded") == 1
        assert value(telemetry, "tagalong_memory_bound_bytes") == 7
        assert value(telemetry, "tagalong_assignments_failing") == 1
        assert value(telemetry, "tagalong_assignments_unreadable") == unreadable


def test_tiers_of_a_project_are_counted_separately() -> None:
    telemetry = Telemetry()
    telemetry.record_predictions(PROJECT, "encoder", RequestStats("encoder", "v-1", 1, 1))
    telemetry.record_predictions(PROJECT, "llm", RequestStats("llm", "v-1", 1, 2))
    seen = [(state.tier, state.regions) for state in telemetry.take_snapshot().projects]
    assert seen == [("llm", 2), ("encoder", 1)]


def test_no_document_text_is_kept() -> None:
    telemetry = Telemetry()
    telemetry.record_predictions(
        PROJECT,
        "encoder",
        RequestStats("encoder", "v-1", 1, 0, dropped_annotations=[lost("Disease")]),
    )
    assert SECRET not in repr(telemetry.take_snapshot())
    assert SECRET not in generate_latest(telemetry.registry).decode()


def test_least_recent_project_is_evicted() -> None:
    telemetry = Telemetry()
    for number in range(MAX_PROJECTS):
        telemetry.record_predictions(
            ProjectKey(number), "encoder", RequestStats("encoder", "v-1", 1, 1)
        )
    telemetry.record_predictions(ProjectKey(0), "encoder", RequestStats("encoder", "v-1", 1, 1))
    telemetry.record_predictions(ProjectKey(1, 5), "encoder", RequestStats("encoder", "v-1", 1, 1))
    seen = [state.project for state in telemetry.take_snapshot().projects]
    assert len(seen) == MAX_PROJECTS
    assert seen[:2] == [ProjectKey(1, 5), ProjectKey(0)]
    assert ProjectKey(1) not in seen


def test_hostile_names_do_not_grow_memory() -> None:
    telemetry = Telemetry()
    names = [f"{number}\ud800 " * 200 for number in range(300)]
    for number, name in enumerate(names):
        telemetry.record_predictions(
            ProjectKey(number),
            "encoder",
            RequestStats(
                "encoder",
                "v-1",
                1,
                1,
                labels=dict.fromkeys(names, name),
                dropped_annotations=[lost(name)],
                unreadable_tasks=[UnreadableTask("no text", name)],
            ),
        )
    telemetry.record_predictions(
        PROJECT,
        "encoder",
        RequestStats("encoder", "v-1", 1, 0, dropped_annotations=[lost(name) for name in names]),
    )
    snapshot = telemetry.take_snapshot()
    assert len(snapshot.projects) == MAX_PROJECTS
    newest = snapshot.projects[0]
    assert len(newest.dropped_regions) == MAX_LABELS + 1
    assert newest.dropped_regions[OTHER, "label unknown"] == len(names) - MAX_LABELS
    longest = MAX_NAME_CHARACTERS + 30 * 5  # each half of a surrogate pair is written as \\ud800
    assert all(len(label) <= longest for label, _ in newest.dropped_regions)
    assert all(len(project.labels) <= MAX_LABELS for project in snapshot.projects)
    repr(snapshot).encode()
    assert len(generate_latest(telemetry.registry)) < 300_000


def test_exposition_is_valid_prometheus_and_bounded() -> None:
    telemetry = Telemetry()
    for number in range(200):
        outcome = RequestStats(
            "encoder",
            "v-1",
            1,
            1,
            dropped_annotations=[lost(str(number), reason) for reason in DROP_REASONS],
        )
        telemetry.record_predictions(ProjectKey(number), "encoder", outcome)
    for action in ACTIONS:
        telemetry.record_webhook_event(action)
    before = series(telemetry)
    for number in range(200, 400):
        telemetry.record_predictions(
            ProjectKey(number),
            "encoder",
            RequestStats("encoder", "v-1", 1, 1, dropped_annotations=[lost(str(number))]),
        )
    assert series(telemetry) == before


def test_counting_is_thread_safe() -> None:
    telemetry = Telemetry()

    def work() -> None:
        for _ in range(200):
            telemetry.count_in_flight(1)
            telemetry.record_response("/predict", 200, 0.1)
            telemetry.record_predictions(
                PROJECT,
                "encoder",
                RequestStats("encoder", "v-1", 2, 3, dropped_annotations=[lost("Disease")]),
            )
            telemetry.count_in_flight(-1)
            telemetry.take_snapshot()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    snapshot = telemetry.take_snapshot()
    assert value(telemetry, "tagalong_http_requests_in_flight") == 0
    assert snapshot.routes[0].requests == 800
    assert (encoder(snapshot).tasks, encoder(snapshot).regions) == (1_600, 2_400)
    assert snapshot.projects[0].dropped_regions == {("Disease", "label unknown"): 800}
    assert (
        value(telemetry, "tagalong_regions_predicted_total", tier="encoder", model="encoder")
        == 2_400
    )


def test_snapshot_is_immutable() -> None:
    telemetry = Telemetry()
    stats = RequestStats("encoder", "v-1", 1, 1, dropped_annotations=[lost("Disease")])
    telemetry.record_predictions(PROJECT, "encoder", stats)
    before = telemetry.take_snapshot()
    telemetry.record_predictions(PROJECT, "encoder", stats)
    telemetry.record_response("/predict", 200, 0.1)
    assert (before.projects[0].requests, before.models[0].tasks, before.routes) == (1, 1, ())
    assert before.projects[0].dropped_regions.total() == 1


# Dashboards and alerts use these names and labels.
SERIES = {
    "tagalong_http_requests_total": {"route", "status"},
    "tagalong_http_requests_created": {"route", "status"},
    "tagalong_http_request_seconds_bucket": {"route", "le"},
    "tagalong_http_request_seconds_count": {"route"},
    "tagalong_http_request_seconds_sum": {"route"},
    "tagalong_http_request_seconds_created": {"route"},
    "tagalong_http_requests_in_flight": set(),
    "tagalong_tasks_predicted_total": {"tier", "model"},
    "tagalong_tasks_predicted_created": {"tier", "model"},
    "tagalong_regions_predicted_total": {"tier", "model"},
    "tagalong_regions_predicted_created": {"tier", "model"},
    "tagalong_regions_dropped_total": {"tier", "reason"},
    "tagalong_regions_dropped_created": {"tier", "reason"},
    "tagalong_tasks_unread_total": {"tier", "reason"},
    "tagalong_tasks_unread_created": {"tier", "reason"},
    "tagalong_webhook_events_total": {"action"},
    "tagalong_webhook_events_refused_total": set(),
    "tagalong_webhook_events_refused_created": set(),
    "tagalong_webhook_events_created": {"action"},
    "tagalong_trainings_total": {"tier", "state"},
    "tagalong_trainings_created": {"tier", "state"},
    "tagalong_model_info": {"tier", "model", "version", "base"},
    "tagalong_model_load_seconds": {"tier", "model"},
    "tagalong_model_load_failures_total": {"tier", "model"},
    "tagalong_model_load_failures_created": {"tier", "model"},
    "tagalong_model_load_failing": {"tier", "model"},
    "tagalong_models_loaded": set(),
    "tagalong_memory_bound_bytes": set(),
    "tagalong_assignments_failing": set(),
    "tagalong_assignments_unreadable": set(),
    "tagalong_project_requests_total": {"tier", "project"},
    "tagalong_project_requests_created": {"tier", "project"},
    "tagalong_project_tasks_total": {"tier", "project"},
    "tagalong_project_tasks_created": {"tier", "project"},
    "tagalong_project_regions_total": {"tier", "project"},
    "tagalong_project_regions_created": {"tier", "project"},
    "tagalong_project_regions_dropped_total": {"tier", "project"},
    "tagalong_project_regions_dropped_created": {"tier", "project"},
    "tagalong_project_tasks_unread_total": {"tier", "project"},
    "tagalong_project_tasks_unread_created": {"tier", "project"},
} | {
    f"tagalong_decoding_{name}_{kind}": {"tier"}
    for name in ("documents", "passes", "slots", "tokens", "agreed")
    for kind in ("total", "created")
}


def test_series_names_and_labels_are_pinned() -> None:
    telemetry = Telemetry()
    telemetry.record_response("/predict", 200, 0.1)
    telemetry.record_webhook_event("TASKS_CREATED")
    unread = [UnreadableTask("no text", "task 4 has no text")]
    stats = RequestStats(
        "encoder", "v-1", 1, 1, dropped_annotations=[lost("Disease")], unreadable_tasks=unread
    )
    telemetry.record_predictions(PROJECT, "encoder", stats)
    manifest = make_manifest("good-1")
    telemetry.record_model_state(ModelState("encoder", "encoder", manifest, load_seconds=1.0))
    asked = datetime(2026, 11, 22, tzinfo=UTC)
    job = Job(1, PROJECT, "encoder", "x", 0, JobState.REJECTED, 1, 0, False, asked)
    telemetry.record_job(job)
    samples = [sample for family in families(telemetry) for sample in family.samples]
    ours = {item.name: set(item.labels) for item in samples if item.name.startswith("tagalong")}
    assert ours == SERIES
    assert value(telemetry, "tagalong_trainings_total", tier="encoder", state="kept") == 1
