"""What is counted: right, bounded whatever is sent, and without a word of any document."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from backend.server.events import ACTIONS
from backend.server.projects import LABELS, NAME_LENGTH, OTHER, PROJECTS
from backend.server.snapshot import Dropped, Outcome, Snapshot, TierState, Unread, UnreadTasks
from backend.server.telemetry import REASONS, ROUTES, SAMPLE, SHOWN_FAILURES, Telemetry
from ner.document import LOST_REASONS, Lost
from tests.backend.server.manifests import make_manifest
from tests.backend.server.serving import request_for, say, serving, settings_in

SECRET = "Mrs. Example took cisplatin"


def families(telemetry: Telemetry) -> Iterator[Metric]:
    return text_string_to_metric_families(telemetry.exposition().decode())


def value(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    return telemetry.registry.get_sample_value(name, labels)


def series(telemetry: Telemetry) -> int:
    return sum(len(family.samples) for family in families(telemetry))


def encoder(snapshot: Snapshot) -> TierState:
    return snapshot.tiers[0]


def lost(label: str, reason: str = "label unknown") -> Lost:
    return Lost(label, SECRET, reason, 0, 6, SECRET)  # type: ignore[arg-type]


def test_a_fresh_server_shows_its_tiers_and_nothing_else() -> None:
    telemetry = Telemetry()
    snapshot = telemetry.snapshot()
    assert snapshot.tiers == (TierState("encoder"), TierState("llm"))
    assert (snapshot.routes, snapshot.projects, snapshot.in_flight) == ((), (), 0)
    assert snapshot.started <= snapshot.taken
    assert value(telemetry, "tagalong_tasks_predicted_total", tier="llm") == 0
    assert value(telemetry, "process_resident_memory_bytes") is not None


def test_requests_are_counted_by_route_and_status() -> None:
    telemetry = Telemetry()
    for status in (200, 200, 422, 500):
        telemetry.request("/predict", status, 0.3)
    telemetry.request("/health", 200, 0.002)
    first, second = telemetry.snapshot().routes
    assert (first.route, first.requests, first.refused, first.failed) == ("/predict", 4, 1, 1)
    assert (second.route, second.requests, second.refused, second.failed) == ("/health", 1, 0, 0)
    name = "tagalong_http_requests_total"
    assert value(telemetry, name, route="/predict", status="200") == 2
    assert value(telemetry, name, route="/predict", status="422") == 1
    bucket = "tagalong_http_request_seconds_bucket"
    assert value(telemetry, bucket, route="/predict", le="0.25") == 0
    assert value(telemetry, bucket, route="/predict", le="0.5") == 4


@given(seconds=st.lists(st.floats(0, 100), min_size=1, max_size=60))
def test_latencies_are_of_the_nearest_rank(seconds: list[float]) -> None:
    telemetry = Telemetry()
    for took in seconds:
        telemetry.request("/predict", 200, took)
    (route,) = telemetry.snapshot().routes
    assert sum(took <= route.median for took in seconds) * 2 >= len(seconds)
    assert sum(took < route.median for took in seconds) * 2 < len(seconds)
    assert sum(took <= route.p95 for took in seconds) * 100 >= len(seconds) * 95
    assert sum(took < route.p95 for took in seconds) * 100 < len(seconds) * 95


def test_latencies_are_of_the_last_requests() -> None:
    telemetry = Telemetry()
    for took in [60.0] * 50 + [0.25] * SAMPLE:
        telemetry.request("/predict", 200, took)
    (route,) = telemetry.snapshot().routes
    assert (route.requests, route.median, route.p95) == (50 + SAMPLE, 0.25, 0.25)


def test_no_request_that_was_answered_is_in_flight(tmp_path: Path) -> None:
    with serving(settings_in(tmp_path)) as client:
        for path, body in (("/predict", request_for("x")), ("/predict", []), ("/nowhere", {})):
            say(client, path, body)
        telemetry = client.application.extensions["tagalong"].telemetry
        assert telemetry.snapshot().in_flight == 0


def test_requests_in_flight_come_and_go() -> None:
    telemetry = Telemetry()
    telemetry.arrived()
    telemetry.arrived()
    telemetry.left()
    assert telemetry.snapshot().in_flight == 1
    assert value(telemetry, "tagalong_http_requests_in_flight") == 1


def test_a_version_that_loads_takes_the_place_of_the_last() -> None:
    telemetry = Telemetry()
    first, second = make_manifest("first-1"), make_manifest("second-2")
    telemetry.loading("encoder", "first-1")
    assert encoder(telemetry.snapshot()).loading == "first-1"
    telemetry.loaded("encoder", first, seconds=1.5)
    telemetry.loading("encoder", "second-2")
    state = encoder(telemetry.snapshot())
    assert (state.manifest, state.loading, state.load_seconds) == (first, "second-2", 1.5)
    telemetry.loaded("encoder", second, seconds=2.5)
    state = encoder(telemetry.snapshot())
    assert (state.manifest, state.loading, state.load_seconds) == (second, None, 2.5)
    named = [
        sample.labels["version"]
        for family in families(telemetry)
        if family.name == "tagalong_model_info"
        for sample in family.samples
    ]
    assert named == ["second-2"]
    assert value(telemetry, "tagalong_model_load_seconds", tier="encoder") == 2.5


def test_a_version_that_fails_leaves_the_old_one_and_is_shown() -> None:
    telemetry = Telemetry()
    manifest = make_manifest("good-1")
    telemetry.loaded("encoder", manifest, seconds=1)
    telemetry.loading("encoder", "bad-2")
    telemetry.load_failed("encoder", "bad-2", "weights are missing: copy it again")
    telemetry.loaded("encoder", manifest, seconds=1)
    state = encoder(telemetry.snapshot())
    assert (state.manifest, state.loading) == (manifest, None)
    assert [(failure.version, failure.reason) for failure in state.failures] == [
        ("bad-2", "weights are missing: copy it again")
    ]
    assert value(telemetry, "tagalong_model_load_failures_total", tier="encoder") == 1
    assert value(telemetry, "tagalong_model_load_failing", tier="encoder") == 1


@pytest.mark.parametrize("mended", [True, False])
def test_a_failure_is_over_when_the_version_loads_or_is_not_wanted(mended: bool) -> None:
    telemetry = Telemetry()
    telemetry.load_failed("encoder", "bad-2", "it is gone")
    if mended:
        telemetry.loaded("encoder", make_manifest("bad-2"), seconds=1)
    else:
        telemetry.load_forgiven("encoder", "bad-2")
    assert encoder(telemetry.snapshot()).failures == ()
    assert value(telemetry, "tagalong_model_load_failures_total", tier="encoder") == 1
    assert value(telemetry, "tagalong_model_load_failing", tier="encoder") == 0


def test_the_latest_failures_are_shown_each_version_once() -> None:
    telemetry = Telemetry()
    for number in range(9):
        telemetry.load_failed("encoder", f"bad-{number}", "it is gone")
        telemetry.load_failed("encoder", "worst", "it is gone")
    versions = [failure.version for failure in encoder(telemetry.snapshot()).failures]
    assert versions == ["worst", "bad-8", "bad-7", "bad-6"][:SHOWN_FAILURES]


def test_predictions_are_counted_for_their_project_and_tier() -> None:
    telemetry = Telemetry()
    unread = [Unread("no text", "task 4 has no text"), Unread("no text", "task 5 has no text")]
    telemetry.predicted(
        "2",
        "encoder",
        Outcome(
            tasks=4,
            regions=9,
            labels={"Chemical": "Drug", "Disease": None},
            lost=[lost("Disease"), lost("Disease"), lost("Chemical", "overlap")],
            unread=unread,
        ),
    )
    telemetry.predicted("2", "encoder", Outcome(tasks=1, regions=1, labels={"Chemical": "Chem"}))
    (project,) = telemetry.snapshot().projects
    assert (project.project, project.tier, project.requests) == ("2", "encoder", 2)
    assert (project.tasks, project.regions) == (5, 10)
    assert project.labels == {"Chemical": "Chem"}
    assert project.dropped == (
        Dropped("Disease", "label unknown", 2),
        Dropped("Chemical", "overlap", 1),
    )
    assert project.unread == (UnreadTasks("no text", 2, "task 5 has no text"),)
    state = encoder(telemetry.snapshot())
    assert (state.tasks, state.regions) == (5, 10)
    of_tier = {"tier": "encoder"}
    assert value(telemetry, "tagalong_tasks_predicted_total", **of_tier) == 5
    assert value(telemetry, "tagalong_regions_predicted_total", **of_tier) == 10
    dropped = "tagalong_regions_dropped_total"
    assert value(telemetry, dropped, reason="label unknown", **of_tier) == 2
    assert value(telemetry, "tagalong_tasks_unread_total", reason="no text", **of_tier) == 2


def test_tiers_of_a_project_are_kept_apart() -> None:
    telemetry = Telemetry()
    telemetry.predicted("2", "encoder", Outcome(1, 1))
    telemetry.predicted("2", "llm", Outcome(1, 2))
    seen = [(state.tier, state.regions) for state in telemetry.snapshot().projects]
    assert seen == [("llm", 2), ("encoder", 1)]


def test_no_covered_text_is_kept() -> None:
    telemetry = Telemetry()
    telemetry.predicted("2", "encoder", Outcome(1, 0, lost=[lost("Disease")]))
    assert SECRET not in repr(telemetry.snapshot())
    assert SECRET not in telemetry.exposition().decode()


def test_the_project_seen_longest_ago_makes_room() -> None:
    telemetry = Telemetry()
    for number in range(PROJECTS):
        telemetry.predicted(str(number), "encoder", Outcome(1, 1))
    telemetry.predicted("0", "encoder", Outcome(1, 1))
    telemetry.predicted("new", "encoder", Outcome(1, 1))
    seen = [state.project for state in telemetry.snapshot().projects]
    assert len(seen) == PROJECTS
    assert seen[:2] == ["new", "0"]
    assert "1" not in seen


def test_hostile_names_cannot_make_it_grow() -> None:
    telemetry = Telemetry()
    names = [f"{number}\ud800 " * 200 for number in range(300)]
    for name in names:
        telemetry.request(name, 200, 0.1)
        telemetry.event(name)
        telemetry.predicted(
            name,
            "encoder",
            Outcome(
                1,
                1,
                labels=dict.fromkeys(names, name),
                lost=[lost(name)],
                unread=[Unread(name, name)],
            ),
        )
    telemetry.predicted("2", "encoder", Outcome(1, 0, lost=[lost(name) for name in names]))
    snapshot = telemetry.snapshot()
    assert len(snapshot.routes) == ROUTES + 1
    assert len(snapshot.projects) == PROJECTS
    newest = snapshot.projects[0]
    assert len(newest.dropped) == LABELS + 1
    assert newest.dropped[0] == Dropped(OTHER, "label unknown", len(names) - LABELS)
    longest = NAME_LENGTH + 30 * 5  # each half of a surrogate pair is written as \\ud800
    assert all(len(item.label) <= longest for item in newest.dropped)
    assert all(len(project.project) <= longest for project in snapshot.projects)
    assert all(len(project.labels) <= LABELS for project in snapshot.projects)
    reasons = {item.reason for project in snapshot.projects for item in project.unread}
    assert len(reasons) <= REASONS + 1
    assert value(telemetry, "tagalong_webhook_events_total", action=OTHER) == len(names)
    repr(snapshot).encode()
    assert len(telemetry.exposition()) < 300_000


def test_what_is_exposed_can_be_read_by_prometheus_and_stays_small() -> None:
    telemetry = Telemetry()
    for number in range(200):
        telemetry.request(f"/{number}", 200, 0.1)
        outcome = Outcome(1, 1, lost=[lost(str(number), reason) for reason in LOST_REASONS])
        telemetry.predicted(str(number), "encoder", outcome)
    for action in ACTIONS:
        telemetry.event(action)
    before = series(telemetry)
    for number in range(200, 400):
        telemetry.request(f"/{number}", 200, 0.1)
        telemetry.predicted(str(number), "encoder", Outcome(1, 1, lost=[lost(str(number))]))
    assert series(telemetry) == before


def test_threads_count_at_once() -> None:
    telemetry = Telemetry()

    def work() -> None:
        for _ in range(200):
            telemetry.arrived()
            telemetry.request("/predict", 200, 0.1)
            telemetry.predicted("2", "encoder", Outcome(2, 3, lost=[lost("Disease")]))
            telemetry.left()
            telemetry.snapshot()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    snapshot = telemetry.snapshot()
    assert snapshot.in_flight == 0
    assert snapshot.routes[0].requests == 800
    assert (encoder(snapshot).tasks, encoder(snapshot).regions) == (1_600, 2_400)
    assert snapshot.projects[0].dropped == (Dropped("Disease", "label unknown", 800),)
    assert value(telemetry, "tagalong_regions_predicted_total", tier="encoder") == 2_400
