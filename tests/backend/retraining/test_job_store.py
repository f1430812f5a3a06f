"""The store of retraining jobs: one waiting, one running, finished ones unchanged."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.retraining.job import Job, JobResult, JobState, StratumComparison
from tagalong.backend.retraining.job_store import JobStore
from tagalong.backend.storage.locks import try_lock
from tagalong.backend.storage.project_key import ProjectKey
from tagalong.backend.storage.state_dir import server_state_dir
from tagalong.ner.errors import StateFileError
from tests.errors import raises

ROOT = Path(__file__).parents[3]
# The same number in two Label Studios.
PROJECT, OTHER = ProjectKey(7, 1795378435), ProjectKey(7, 1795378436)
OUTCOME = JobResult(
    "it is better",
    should_promote=True,
    version="v-1",
    compared_version="v-0",
    documents=30,
    held_out=7,
    strata=(StratumComparison("all", 40, 0.8, 0.7, -0.01, 0.2), StratumComparison("3+", 2, 0.5)),
    notes=("Something.",),
    was_promoted=True,
)


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[JobStore]:
    jobs = JobStore(tmp_path / "models")
    yield jobs
    jobs.close()


def read_job(jobs: JobStore, number: int) -> Job:
    job = jobs.read_job(number)
    assert job is not None
    return job


def test_one_waiting_job_serves_all_requests(jobs: JobStore) -> None:
    first = jobs.enqueue(PROJECT, "encoder", reason="the train button", last_event_id=3)
    assert jobs.enqueue(PROJECT, "encoder", reason="9 annotations", last_event_id=12) == first
    assert jobs.enqueue(PROJECT, "encoder", reason="the train button", last_event_id=5) == first
    assert read_job(jobs, first).last_event_id == 12
    assert read_job(jobs, first).reason == "the train button"
    assert jobs.enqueue(PROJECT, "llm", reason="the train button") != first
    assert jobs.enqueue(OTHER, "encoder", reason="the train button") != first
    assert jobs.read_last_event_ids("encoder") == {PROJECT: 12, OTHER: 0}


def test_events_during_a_job_queue_one_more(jobs: JobStore) -> None:
    first = jobs.enqueue(PROJECT, "encoder", reason="x", last_event_id=3)
    jobs.mark_running(first)
    second = jobs.enqueue(PROJECT, "encoder", reason="x", last_event_id=4)
    assert second != first
    assert jobs.enqueue(PROJECT, "encoder", reason="x", last_event_id=5) == second
    assert [job.id for job in jobs.list_active()] == [first, second]
    with pytest.raises(StateFileError):  # only one job of a project and tier runs
        jobs.mark_running(second)
    jobs.finish(first, JobState.REJECTED, OUTCOME)
    jobs.mark_running(second)
    answering = [jobs.find_for_event(PROJECT, event) for event in (1, 3, 4, 5, 6)]
    assert [job and job.id for job in answering] == [first, first, second, second, None]


def test_finished_job_does_not_change(jobs: JobStore) -> None:
    number = jobs.enqueue(PROJECT, "encoder", reason="x")
    jobs.mark_running(number)
    jobs.set_status_message(number, "epoch 1 of 9")
    assert read_job(jobs, number).status_message == "epoch 1 of 9"
    jobs.finish(number, JobState.PROMOTED, OUTCOME)
    ended = read_job(jobs, number)
    assert ended.result == OUTCOME
    assert ended.ended_at is not None
    assert ended.status_message == ""
    jobs.finish(number, JobState.FAILED, JobResult("no"))
    jobs.mark_running(number)
    assert read_job(jobs, number) == ended
    assert jobs.request_cancel(PROJECT) == 0


def test_decision_survives_its_process(jobs: JobStore) -> None:
    number = jobs.enqueue(PROJECT, "encoder", reason="x")
    jobs.mark_running(number)
    jobs.write_decision(number, OUTCOME)
    jobs.mark_running(number)  # it was killed and restarted
    again = read_job(jobs, number)
    assert (again.state, again.attempts, again.result) == (JobState.RUNNING, 2, OUTCOME)


def test_lock_ends_with_its_process(jobs: JobStore, tmp_path: Path) -> None:
    number = jobs.enqueue(PROJECT, "encoder", reason="x")
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from tagalong.backend.retraining.job_store import JobStore\n"
        "from tests.backend.retraining.test_job_store import PROJECT\n"
        f"with JobStore(Path({str(tmp_path / 'models')!r})).lock(PROJECT, 'encoder') as ours:\n"
        "    print(ours, flush=True)\n    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    assert jobs.is_locked(read_job(jobs, number))
    process.kill()
    process.communicate()
    assert not jobs.is_locked(read_job(jobs, number))


def test_unwritable_status_message_fails_no_job(tmp_path: Path) -> None:
    jobs = JobStore(tmp_path)
    number = jobs.enqueue(PROJECT, "encoder", reason="x")
    with closing(sqlite3.connect(server_state_dir(tmp_path) / "runs.sqlite")) as other:
        other.execute("BEGIN IMMEDIATE")  # as during a backup or a disk stall
        jobs.set_status_message(number, "training, epoch 1 of 9")
        other.rollback()
    assert read_job(jobs, number).status_message == ""
    jobs.set_status_message(number, "training, epoch 2 of 9")
    assert read_job(jobs, number).status_message == "training, epoch 2 of 9"
    jobs.close()


def test_unusable_file_error_names_consequences(tmp_path: Path) -> None:
    server_state_dir(tmp_path).mkdir(parents=True)
    (server_state_dir(tmp_path) / "runs.sqlite").write_text("something else altogether" * 99)
    with raises(StateFileError, "state-file-unusable") as raised:
        JobStore(tmp_path).list_latest(limit=1)
    assert "retrained" in str(raised.value)


@given(
    st.builds(
        JobResult,
        reason=st.text(),
        should_promote=st.booleans(),
        strata=st.lists(
            st.builds(
                StratumComparison,
                name=st.sampled_from(["all", "1", "2", "3+"]),
                support=st.integers(0),
                new=st.floats(0, 1),
                current=st.none() | st.floats(0, 1),
            )
        ).map(tuple),
        notes=st.lists(st.text()).map(tuple),
    )
)
def test_result_round_trips_through_json(outcome: JobResult) -> None:
    assert JobResult.from_json(outcome.to_json()) == outcome


# Written by the previous release: its tables, and a job in each state.
OLD_SCHEMA = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, project INTEGER NOT NULL, tier TEXT NOT NULL,
    reason TEXT NOT NULL, upto INTEGER NOT NULL, state TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0, process INTEGER NOT NULL DEFAULT 0,
    unwanted INTEGER NOT NULL DEFAULT 0, asked TEXT NOT NULL, ended TEXT NOT NULL DEFAULT '',
    standing TEXT NOT NULL DEFAULT '', outcome TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX one_waits ON runs (project, tier) WHERE state = 'waiting';
CREATE UNIQUE INDEX one_runs ON runs (project, tier) WHERE state = 'running';
PRAGMA user_version = 1;
"""
OLD_RESULT = (
    '{"reason": "it is no better", "promote": true, "version": "v-2", "against": "v-1", '
    '"documents": 40, "held_out": 9, "strata": [{"name": "all", "support": 40, "new": 0.8, '
    '"old": 0.7, "low": -0.01, "high": 0.21}], "notes": ["few documents"], "promoted": true}'
)
OLD_ROWS = [
    (1, 7, "encoder", "the train button", 12, "kept", 2, 0, 0,
     "2026-11-22T20:13:00+00:00", "2026-11-22T20:33:00+00:00", "", OLD_RESULT),
    (2, 7, "encoder", "5 new annotations", 31, "running", 1, 4242, 1,
     "2026-11-23T08:00:00+00:00", "", "epoch 1 of 9", ""),
]  # fmt: skip


def test_jobs_of_the_previous_release_are_read_and_continued(tmp_path: Path) -> None:
    path = server_state_dir(tmp_path) / "runs.sqlite"
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.executescript(OLD_SCHEMA)
        old.executemany(f"INSERT INTO runs VALUES ({', '.join('?' * 13)})", OLD_ROWS)
    jobs = JobStore(tmp_path)
    done, running = read_job(jobs, 1), read_job(jobs, 2)
    assert done == Job(
        *(1, ProjectKey(7), "encoder", "the train button", 12, JobState.REJECTED, 2, 0, False),
        requested_at=datetime(2026, 11, 22, 20, 13, tzinfo=UTC),
        ended_at=datetime(2026, 11, 22, 20, 33, tzinfo=UTC),
        result=JobResult(
            reason="it is no better",
            should_promote=True,
            version="v-2",
            compared_version="v-1",
            documents=40,
            held_out=9,
            strata=(StratumComparison("all", 40, 0.8, 0.7, -0.01, 0.21),),
            notes=("few documents",),
            was_promoted=True,
        ),
    )
    assert (running.pid, running.cancel_requested, running.attempts) == (4242, True, 1)
    assert (running.status_message, running.ended_at) == ("epoch 1 of 9", None)
    assert jobs.read_last_event_ids("encoder") == {ProjectKey(7): 31}
    assert done.result is not None
    with try_lock(path.with_name("training-encoder-7.lock")):  # by a trainer of that release
        assert jobs.is_locked(running)
    own = jobs.enqueue(PROJECT, "encoder", reason="x", last_event_id=32)
    jobs.mark_running(own)
    assert jobs.request_cancel(PROJECT) == 1
    assert [job.id for job in jobs.list_active() if job.cancel_requested] == [2, own]
    jobs.finish(2, JobState.CANCELLED, done.result)
    jobs.close()
    with closing(sqlite3.connect(path)) as written:
        (row,) = written.execute("SELECT state, process, outcome FROM runs WHERE id = 2")
        assert row == ("cancelled", 0, OLD_RESULT)  # unchanged, for the previous release
