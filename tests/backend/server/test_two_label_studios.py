"""Two Label Studios on one server, with the same numbers of projects: neither sees the other."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st

from tagalong.backend.events.payload import START_TRAINING, parse_event
from tagalong.backend.events.store import EventStore
from tagalong.backend.retraining.job import JobState
from tagalong.backend.retraining.job_store import JobStore
from tagalong.backend.storage.project_key import ProjectKey
from tagalong.backend.storage.state_dir import event_store_path
from tests.backend.server.app_client import CONFIG, post_json, serve_app, service_of, settings_in
from tests.backend.server.test_interactive_calls import LITHIUM, NALOXONE, ask, region, starts

TIER = "encoder"
# Each starts to count its projects from 1, within the same minute.
CREATED = ["2026-11-22T20:13:55.123456Z", "2026-11-22T20:13:56.000001Z"]
SECONDS = [1795378435, 1795378436]


def payload(studio: int, project: int, action: str, **objects: Any) -> dict[str, Any]:
    """A webhook event of one of the two."""
    return {"action": action, "project": {"id": project, "created_at": CREATED[studio]}, **objects}


def annotated(studio: int, project: int, annotation: int) -> dict[str, Any]:
    times = {"updated_at": "2026-11-23T09:00:00Z"}
    return payload(
        studio, project, "ANNOTATION_CREATED", annotation={"id": annotation, "task": 3, **times}
    )


class StateFolder:
    """The stores of one folder, and what each project can see of them."""

    def __init__(self, folder: Path) -> None:
        self.events, self.jobs = EventStore(event_store_path(folder)), JobStore(folder)

    def close(self) -> None:
        self.events.close()
        self.jobs.close()

    def do(self, studio: int, step: str, project: int, number: int) -> object:
        """One step of a Label Studio; returns what it learns."""
        key = ProjectKey(project, SECONDS[studio])
        if step == "annotate":
            return self.events.write_payload(annotated(studio, project, number)) is None
        if step == "train":
            event = parse_event(payload(studio, project, START_TRAINING))
            assert event is not None
            event_id = self.events.write_event(event)
            assert event_id is not None
            assert event.project == key
            self.jobs.enqueue(key, TIER, reason="x", last_event_id=event_id)
        elif step == "cancel":
            return self.jobs.request_cancel(key)
        elif step == "run":
            jobs = {job.state: job for job in self.jobs.list_active() if job.project == key}
            if JobState.WAITING in jobs and JobState.RUNNING not in jobs:
                self.jobs.mark_running(jobs[JobState.WAITING].id)
        else:
            self.events.write_extra_params(key, TIER, {"control": str(number)})
        return None

    def seen(self, studio: int, project: int) -> object:
        """What a project sees: counts, extra params and its jobs, without the ids in the file."""
        key = ProjectKey(project, SECONDS[studio])
        jobs = [job for job in self.jobs.list_latest(limit=99) if job.project == key]
        return (
            self.events.count_annotations(key)[0],
            key in self.events.read_annotated_projects(),
            self.events.read_extra_params(key, TIER),
            [(job.state, job.cancel_requested, job.attempts) for job in jobs],
            key in self.jobs.read_last_event_ids(TIER),
        )


STEPS = st.tuples(
    st.integers(0, 1),
    st.sampled_from(["annotate", "annotate", "train", "cancel", "run", "setup"]),
    st.integers(1, 2),
    st.integers(1, 4),
)


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(STEPS, max_size=20))
def test_shared_folder_looks_like_a_folder_of_ones_own(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, str, int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("state")
    with (
        closing(StateFolder(folder / "shared")) as shared,
        closing(StateFolder(folder / "0")) as first,
        closing(StateFolder(folder / "1")) as second,
    ):
        own = first, second
        for studio, *step in steps:
            assert shared.do(studio, *step) == own[studio].do(studio, *step)
        for studio in (0, 1):
            for project in (1, 2):
                assert shared.seen(studio, project) == own[studio].seen(studio, project)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[FlaskClient]:
    with serve_app(settings_in(tmp_path)) as client:
        yield client


def test_drawn_regions_are_remembered_for_one_label_studio(client: FlaskClient) -> None:
    binds, names = region(5, 5, "Disease"), [f"1.{seconds}" for seconds in SECONDS]
    for name in names:  # the same task and the same id of a region
        assert starts(ask(client, binds, project=name)) == [NALOXONE, LITHIUM]
    assert ask(client, binds, project=names[0]) == []


def test_extra_params_of_one_label_studio_do_not_reach_the_other(client: FlaskClient) -> None:
    two = CONFIG.replace(
        "<Text", '<Labels name="other" toName="text"><Label value="Chemical"/></Labels><Text'
    )
    first, second = (f"1.{seconds}" for seconds in SECONDS)
    chosen = {"project": first, "schema": two, "extra_params": {"control": "other"}}
    assert post_json(client, "/setup", chosen).status_code == 200
    assert post_json(client, "/setup", {"project": second, "schema": two}).status_code == 422


def test_status_page_tells_projects_of_one_number_apart(client: FlaskClient) -> None:
    def headings() -> list[str]:
        page = client.get("/", headers={"Accept": "text/html"}).get_data(as_text=True)
        return [part.partition("<")[0] for part in page.split("Project <bdi>")[1:]]

    ask(client, project=f"1.{SECONDS[0]}")
    assert headings() == ["1"]
    ask(client, project=f"2.{SECONDS[1]}")
    ask(client, project=f"1.{SECONDS[1] + 60}")
    created = "created on 22 November 2026"
    assert headings() == [f"1 ({created}, 20:14 UTC)", "2", f"1 ({created}, 20:13 UTC)"]


def jobs_of(client: FlaskClient) -> dict[ProjectKey, bool]:
    """Whether the job of each project is to be cancelled."""
    jobs = service_of(client).job_store.list_latest(limit=9)
    return {job.project: job.cancel_requested for job in jobs}


def test_trainings_of_projects_of_one_number_are_separate(client: FlaskClient) -> None:
    service_of(client).supervisor.close()  # it would fail them at once, without a key
    first, second = (ProjectKey(1, seconds) for seconds in SECONDS)
    numbers = [
        post_json(client, "/webhook", payload(studio, 1, START_TRAINING)).json["job"]
        for studio in (0, 1)
    ]
    assert jobs_of(client) == {first: False, second: False}
    for number in numbers:
        answer = post_json(client, "/job_status", {"job": number}).json
        assert answer["job_status"] == "waiting"
    # Label Studio names a deleted project by its number: nobody can tell whose it is.
    gone = {"action": "PROJECT_DELETED", "project": {"id": 1}}
    assert post_json(client, "/webhook", gone).status_code == 201
    assert jobs_of(client) == {first: False, second: False}
    gone["project"] = {"id": 1, "created_at": CREATED[1]}
    post_json(client, "/webhook", gone)
    assert jobs_of(client) == {first: False, second: True}


def test_deleted_project_of_the_only_label_studio_is_found_by_its_number(
    client: FlaskClient,
) -> None:
    service_of(client).supervisor.close()
    post_json(client, "/webhook", payload(0, 1, START_TRAINING))
    post_json(client, "/webhook", {"action": "PROJECT_DELETED", "project": {"id": 1}})
    assert jobs_of(client) == {ProjectKey(1, SECONDS[0]): True}
