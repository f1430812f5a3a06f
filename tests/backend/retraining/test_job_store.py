"""What is known of trainings: one waits, one runs, and what has ended stays as it ended."""

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
from tagalong.backend.storage.state_dir import server_state_dir
from tagalong.ner.errors import StateFileError
from tests.errors import raises

ROOT = Path(__file__).parents[3]
OUTCOME = JobResult(
    "it is better",
    should_promote=True,
    version="v-1",
    previous_version="v-0",
    documents=30,
    held_out=7,
    strata=(StratumComparison("all", 40, 0.8, 0.7, -0.01, 0.2), StratumComparison("3+", 2, 0.5)),
    notes=("Something.",),
    was_promoted=True,
)


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[JobStore]:
    runs = JobStore(tmp_path / "models")
    yield runs
    runs.close()


def known(runs: JobStore, number: int) -> Job:
    run = runs.read_job(number)
    assert run is not None
    return run


def test_one_waits_and_answers_for_all_that_ask(runs: JobStore) -> None:
    first = runs.enqueue(7, "encoder", reason="the train button", last_event_id=3)
    assert runs.enqueue(7, "encoder", reason="9 annotations", last_event_id=12) == first
    assert runs.enqueue(7, "encoder", reason="the train button", last_event_id=5) == first
    assert known(runs, first).last_event_id == 12
    assert known(runs, first).reason == "the train button"
    assert runs.enqueue(7, "llm", reason="the train button") != first
    assert runs.enqueue(8, "encoder", reason="the train button") != first
    assert runs.read_last_event_ids("encoder") == {7: 12, 8: 0}


def test_events_while_one_runs_lead_to_one_more(runs: JobStore) -> None:
    first = runs.enqueue(7, "encoder", reason="x", last_event_id=3)
    runs.mark_running(first)
    second = runs.enqueue(7, "encoder", reason="x", last_event_id=4)
    assert second != first
    assert runs.enqueue(7, "encoder", reason="x", last_event_id=5) == second
    assert [run.id for run in runs.list_active()] == [first, second]
    with pytest.raises(StateFileError):  # of one project and tier, one runs
        runs.mark_running(second)
    runs.finish(first, JobState.REJECTED, OUTCOME)
    runs.mark_running(second)
    answering = [runs.find_for_event(7, event) for event in (1, 3, 4, 5, 6)]
    assert [run and run.id for run in answering] == [first, first, second, second, None]


def test_what_has_ended_stays_as_it_ended(runs: JobStore) -> None:
    number = runs.enqueue(7, "encoder", reason="x")
    runs.mark_running(number)
    runs.set_status_message(number, "epoch 1 of 9")
    assert known(runs, number).status_message == "epoch 1 of 9"
    runs.finish(number, JobState.PROMOTED, OUTCOME)
    ended = known(runs, number)
    assert ended.result == OUTCOME
    assert ended.ended_at is not None
    assert ended.status_message == ""
    runs.finish(number, JobState.FAILED, JobResult("no"))
    runs.mark_running(number)
    assert known(runs, number) == ended
    assert runs.request_cancel(7) == 0


def test_what_is_decided_outlives_its_process(runs: JobStore) -> None:
    number = runs.enqueue(7, "encoder", reason="x")
    runs.mark_running(number)
    runs.write_decision(number, OUTCOME)
    runs.mark_running(number)  # it was killed, and is begun again
    again = known(runs, number)
    assert (again.state, again.attempts, again.result) == (JobState.RUNNING, 2, OUTCOME)


def test_a_lock_ends_with_its_process(runs: JobStore, tmp_path: Path) -> None:
    number = runs.enqueue(7, "encoder", reason="x")
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from tagalong.backend.retraining.job_store import JobStore\n"
        f"with JobStore(Path({str(tmp_path / 'models')!r})).lock(7, 'encoder') as ours:\n"
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
    assert runs.is_locked(known(runs, number))
    process.kill()
    process.communicate()
    assert not runs.is_locked(known(runs, number))


def test_no_training_fails_for_a_note_that_cannot_be_written(tmp_path: Path) -> None:
    runs = JobStore(tmp_path)
    number = runs.enqueue(7, "encoder", reason="x")
    with closing(sqlite3.connect(server_state_dir(tmp_path) / "runs.sqlite")) as other:
        other.execute("BEGIN IMMEDIATE")  # as a backup or a stalled disk would
        runs.set_status_message(number, "training, epoch 1 of 9")
        other.rollback()
    assert known(runs, number).status_message == ""
    runs.set_status_message(number, "training, epoch 2 of 9")
    assert known(runs, number).status_message == "training, epoch 2 of 9"
    runs.close()


def test_a_file_that_cannot_be_used_says_what_that_costs(tmp_path: Path) -> None:
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
                old=st.none() | st.floats(0, 1),
            )
        ).map(tuple),
        notes=st.lists(st.text()).map(tuple),
    )
)
def test_an_outcome_comes_back_from_json(outcome: JobResult) -> None:
    assert JobResult.from_json(outcome.to_json()) == outcome


# What the release before wrote: its tables, and a job in each of the forms that a row can have.
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


def test_the_jobs_of_the_release_before_are_read_and_carried_on(tmp_path: Path) -> None:
    path = server_state_dir(tmp_path) / "runs.sqlite"
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.executescript(OLD_SCHEMA)
        old.executemany(f"INSERT INTO runs VALUES ({', '.join('?' * 13)})", OLD_ROWS)
    runs = JobStore(tmp_path)
    done, running = known(runs, 1), known(runs, 2)
    assert done == Job(
        *(1, 7, "encoder", "the train button", 12, JobState.REJECTED, 2, 0, False),
        requested_at=datetime(2026, 11, 22, 20, 13, tzinfo=UTC),
        ended_at=datetime(2026, 11, 22, 20, 33, tzinfo=UTC),
        result=JobResult(
            reason="it is no better",
            should_promote=True,
            version="v-2",
            previous_version="v-1",
            documents=40,
            held_out=9,
            strata=(StratumComparison("all", 40, 0.8, 0.7, -0.01, 0.21),),
            notes=("few documents",),
            was_promoted=True,
        ),
    )
    assert (running.pid, running.cancel_requested, running.attempts) == (4242, True, 1)
    assert (running.status_message, running.ended_at) == ("epoch 1 of 9", None)
    assert runs.read_last_event_ids("encoder") == {7: 31}
    assert done.result is not None
    runs.finish(2, JobState.CANCELLED, done.result)
    runs.close()
    with closing(sqlite3.connect(path)) as written:
        (row,) = written.execute("SELECT state, process, outcome FROM runs WHERE id = 2")
        assert row == ("cancelled", 0, OLD_RESULT)  # to the letter, for the release before
