"""The supervisor runs one training process at a time, and restarts a killed one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Self

import pytest

from tagalong.backend.events import store as journal_module
from tagalong.backend.events.payload import AnnotationRef, WebhookEvent
from tagalong.backend.events.store import EventStore
from tagalong.backend.retraining import job_store as runs_module
from tagalong.backend.retraining import supervisor as module
from tagalong.backend.retraining import trigger
from tagalong.backend.retraining.job import Job, JobResult, JobState
from tagalong.backend.retraining.job_store import JobStore
from tagalong.backend.retraining.supervisor import MAX_ATTEMPTS, Supervisor
from tagalong.backend.retraining.trigger import RetrainSettings
from tagalong.backend.storage.model_store import ModelStore
from tagalong.backend.storage.project_key import ProjectKey
from tagalong.backend.storage.state_dir import event_store_path, server_state_dir
from tagalong.training.jobs.job_requests import claim_job

ROOT = Path(__file__).parents[3]
# The same number in two Label Studios.
PROJECT, OTHER = ProjectKey(7, 1795378435), ProjectKey(7, 1795378436)


@pytest.fixture(autouse=True)
def short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(module, "RETRY_DELAY_SECONDS", 0.01)
    monkeypatch.setattr(module, "TERMINATION_GRACE_SECONDS", 5.0)


@contextmanager
def run_supervisor(
    models: Path,
    how: str,
    *,
    note: Callable[[Job], None] = lambda _: None,
    min_annotations: int = 0,
) -> Iterator[tuple[JobStore, EventStore]]:
    """A supervisor of fake trainers."""
    jobs, journal = JobStore(models), EventStore(event_store_path(models))
    command = (sys.executable, "-m", "tests.backend.retraining.fake_trainer", str(models), how)
    environment = {"PYTHONPATH": str(ROOT)}
    settings = RetrainSettings(command, environment, min_annotations=min_annotations)
    log = server_state_dir(models) / "training.log"
    watcher = Supervisor(jobs, journal, settings, tier="encoder", log_path=log, on_finished=note)
    watcher.start()
    try:
        yield jobs, journal
    finally:
        watcher.close()
        journal.close()


def until(ready: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def read_job(jobs: JobStore, number: int) -> Job:
    job = jobs.read_job(number)
    assert job is not None
    return job


def started_jobs(models: Path) -> list[str]:
    """Ids of the started jobs, in order."""
    marks = models / "marks"
    return marks.read_text().split() if marks.exists() else []


def annotation_event(number: int, project: ProjectKey = PROJECT) -> WebhookEvent:
    return WebhookEvent(
        "ANNOTATION_CREATED", project, (number,), (AnnotationRef(number, "2026-11-22T20:13:55Z"),)
    )


def test_requested_jobs_run_one_after_the_other(tmp_path: Path) -> None:
    with run_supervisor(tmp_path, "ends") as (jobs, _):
        numbers = [
            jobs.enqueue(project, "encoder", reason="x") for project in map(ProjectKey, (1, 2, 3))
        ]
        until(lambda: all(read_job(jobs, number).state.is_finished for number in numbers))
    assert started_jobs(tmp_path) == [str(number) for number in numbers]


@pytest.mark.slow
def test_many_events_start_one_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trigger, "DEBOUNCE_SECONDS", 1.0)
    with run_supervisor(tmp_path, "ends", min_annotations=5) as (jobs, journal):
        for number in range(1000):
            journal.write_event(annotation_event(number))
        until(lambda: any(job.state.is_finished for job in jobs.list_latest(limit=9)))
        time.sleep(1.5)
        [job] = jobs.list_latest(limit=9)
    assert job.reason == "1,000 new or changed annotations"
    assert len(started_jobs(tmp_path)) == 1


def test_clock_set_back_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Earlier(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) - timedelta(days=400)

    monkeypatch.setattr(trigger, "DEBOUNCE_SECONDS", 0.1)
    with run_supervisor(tmp_path, "ends", min_annotations=2) as (jobs, journal):
        for number in (1, 2):
            journal.write_event(annotation_event(number))
        until(lambda: started_jobs(tmp_path) == ["1"] and read_job(jobs, 1).state.is_finished)
        for module_with_clock in (runs_module, journal_module):
            monkeypatch.setattr(module_with_clock, "datetime", Earlier)
        for number in (2, 3, 4):  # the first event is sent again
            journal.write_event(annotation_event(number))
        until(lambda: started_jobs(tmp_path) == ["1", "2"] and read_job(jobs, 2).state.is_finished)
        later, earlier = jobs.list_latest(limit=9)
    assert (later.id, earlier.id) == (2, 1)
    assert later.requested_at < earlier.requested_at
    assert later.reason == "2 new or changed annotations"


def test_killed_training_is_restarted(tmp_path: Path) -> None:
    with run_supervisor(tmp_path, "is killed once") as (jobs, _):
        number = jobs.enqueue(PROJECT, "encoder", reason="x")
        until(lambda: started_jobs(tmp_path) != [] and read_job(jobs, number).pid > 0)
        os.kill(read_job(jobs, number).pid, signal.SIGKILL)
        until(lambda: read_job(jobs, number).state.is_finished)
        assert read_job(jobs, number).state is JobState.REJECTED
    assert started_jobs(tmp_path) == [str(number)] * 2


def test_training_that_always_crashes_is_given_up(tmp_path: Path) -> None:
    with run_supervisor(tmp_path, "dies") as (jobs, _):
        number = jobs.enqueue(PROJECT, "encoder", reason="x")
        until(lambda: read_job(jobs, number).state.is_finished)
        job = read_job(jobs, number)
    assert job.state is JobState.FAILED
    assert job.result is not None
    assert "training.log" in job.result.reason
    assert len(started_jobs(tmp_path)) == MAX_ATTEMPTS


def test_new_server_continues_jobs_of_the_previous_one(tmp_path: Path) -> None:
    with run_supervisor(tmp_path, "waits") as (jobs, _):
        number = jobs.enqueue(PROJECT, "encoder", reason="x")
        until(lambda: started_jobs(tmp_path) != [] and read_job(jobs, number).pid > 0)
    with run_supervisor(tmp_path, "ends") as (jobs, _):
        until(lambda: read_job(jobs, number).state.is_finished)
        assert read_job(jobs, number).state is JobState.REJECTED
    assert started_jobs(tmp_path) == [str(number)] * 2


def test_training_that_outlived_its_server_continues(tmp_path: Path) -> None:
    jobs = JobStore(tmp_path)
    number = jobs.enqueue(PROJECT, "encoder", reason="x")
    jobs.mark_running(number)
    with jobs.lock(PROJECT, "encoder") as ours:  # held by its process
        assert ours
        with run_supervisor(tmp_path, "ends") as (other, _):
            waiting = other.enqueue(OTHER, "encoder", reason="x")
            time.sleep(0.5)
            assert read_job(other, waiting).state is JobState.WAITING
            assert started_jobs(tmp_path) == []
    jobs.close()


def test_end_of_a_job_is_reported_once(tmp_path: Path) -> None:
    jobs = JobStore(tmp_path)
    number = jobs.enqueue(PROJECT, "encoder", reason="x")
    jobs.mark_running(number)
    reported: list[tuple[int, JobState]] = []
    with (
        jobs.lock(PROJECT, "encoder"),
        run_supervisor(tmp_path, "ends", note=lambda job: reported.append((job.id, job.state))) as (
            other,
            _,
        ),
    ):
        after = other.enqueue(OTHER, "encoder", reason="x")
        time.sleep(0.5)
        jobs.finish(number, JobState.PROMOTED, JobResult("it is better"))
        until(lambda: len(reported) == 2)
        time.sleep(0.3)
    jobs.close()
    assert reported == [(number, JobState.PROMOTED), (after, JobState.REJECTED)]


@pytest.mark.parametrize("state", list(JobState)[:2])
def test_cancelled_training_is_stopped(tmp_path: Path, state: JobState) -> None:
    with run_supervisor(tmp_path, "waits") as (jobs, _):
        first = jobs.enqueue(PROJECT, "encoder", reason="x")
        until(lambda: read_job(jobs, first).pid > 0)
        unwanted = (
            first if state is JobState.RUNNING else jobs.enqueue(OTHER, "encoder", reason="x")
        )
        assert jobs.request_cancel(read_job(jobs, unwanted).project) == 1
        until(lambda: read_job(jobs, unwanted).state.is_finished)
        assert read_job(jobs, unwanted).state is JobState.CANCELLED
        assert read_job(jobs, first).state.is_finished == (first == unwanted)


@pytest.mark.parametrize("how", ["waits", "does not stop"])
def test_only_the_cancelled_training_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """The server trains for one project, and a command for another."""
    monkeypatch.setattr(module, "TERMINATION_GRACE_SECONDS", 0.5)
    with run_supervisor(tmp_path, "waits") as (jobs, _):
        first = jobs.enqueue(PROJECT, "encoder", reason="x")
        until(lambda: read_job(jobs, first).pid > 0)
        second = jobs.enqueue(OTHER, "encoder", reason="x")
        jobs.mark_running(second)
        command = [
            sys.executable,
            "-m",
            "tests.backend.retraining.fake_trainer",
            str(tmp_path),
            how,
        ]
        with subprocess.Popen([*command, "--run", str(second)], cwd=ROOT) as shell:
            until(lambda: read_job(jobs, second).pid == shell.pid)
            until(lambda: len(started_jobs(tmp_path)) == 2)
            time.sleep(0.2)  # until it has its signal handler
            assert jobs.request_cancel(OTHER) == 1
            assert shell.wait(60) == (1 if how == "waits" else -signal.SIGKILL)
        until(lambda: read_job(jobs, second).state.is_finished)
        assert read_job(jobs, second).state is JobState.CANCELLED
        time.sleep(0.3)
        assert read_job(jobs, first).state is JobState.RUNNING
        assert started_jobs(tmp_path) == [str(first), str(second)]  # not restarted


def test_missing_key_is_reported(tmp_path: Path) -> None:
    jobs, journal = JobStore(tmp_path), EventStore(event_store_path(tmp_path))
    settings = RetrainSettings(unavailable_reason="there is no key")
    watcher = Supervisor(jobs, journal, settings, tier="encoder", log_path=tmp_path / "log")
    number = jobs.enqueue(PROJECT, "encoder", reason="x")
    watcher.poll()
    outcome = read_job(jobs, number).result
    assert outcome is not None
    assert outcome.reason == "there is no key"
    watcher.close()
    journal.close()


def test_job_that_a_command_is_about_to_run_is_left_alone(tmp_path: Path) -> None:
    jobs, events = JobStore(tmp_path), EventStore(event_store_path(tmp_path))
    log = server_state_dir(tmp_path) / "training.log"
    without_key = RetrainSettings(unavailable_reason="no key is set")
    ignore = {"tier": "encoder", "log_path": log, "on_finished": lambda _: None}
    supervisor = Supervisor(jobs, events, without_key, **ignore)
    with claim_job(jobs, ModelStore(tmp_path), PROJECT, "encoder") as number:
        supervisor.poll()
        assert read_job(jobs, number).state is JobState.WAITING
    supervisor.poll()
    assert read_job(jobs, number).state is JobState.FAILED
    supervisor.close()
    events.close()
