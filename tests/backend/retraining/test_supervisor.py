"""Trainings are run one at a time, and begun again when they are killed; real processes."""

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
from tagalong.backend.storage.state_dir import event_store_path, server_state_dir

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(module, "RETRY_DELAY_SECONDS", 0.01)
    monkeypatch.setattr(module, "TERMINATION_GRACE_SECONDS", 5.0)


@contextmanager
def watching(
    models: Path,
    how: str,
    *,
    note: Callable[[Job], None] = lambda _: None,
    min_annotations: int = 0,
) -> Iterator[tuple[JobStore, EventStore]]:
    """A supervisor whose trainers end as they are told."""
    runs, journal = JobStore(models), EventStore(event_store_path(models))
    command = (sys.executable, "-m", "tests.backend.retraining.fake_trainer", str(models), how)
    environment = {"PYTHONPATH": str(ROOT)}
    told = RetrainSettings(command, environment, min_annotations=min_annotations)
    log = server_state_dir(models) / "training.log"
    watcher = Supervisor(runs, journal, told, tier="encoder", log_path=log, on_finished=note)
    watcher.start()
    try:
        yield runs, journal
    finally:
        watcher.close()
        journal.close()


def until(ready: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def known(runs: JobStore, number: int) -> Job:
    run = runs.read_job(number)
    assert run is not None
    return run


def begun(models: Path) -> list[str]:
    """Which trainings were begun, in that order."""
    marks = models / "marks"
    return marks.read_text().split() if marks.exists() else []


def submitted(number: int, project: int = 7) -> WebhookEvent:
    return WebhookEvent(
        "ANNOTATION_CREATED", project, (number,), (AnnotationRef(number, "2026-11-22T20:13:55Z"),)
    )


def test_what_is_asked_for_is_run_one_after_the_other(tmp_path: Path) -> None:
    with watching(tmp_path, "ends") as (runs, _):
        numbers = [runs.enqueue(project, "encoder", reason="x") for project in (1, 2, 3)]
        until(lambda: all(known(runs, number).state.is_finished for number in numbers))
    assert begun(tmp_path) == [str(number) for number in numbers]


def test_a_flood_of_events_makes_one_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trigger, "DEBOUNCE_SECONDS", 1.0)
    with watching(tmp_path, "ends", min_annotations=5) as (runs, journal):
        for number in range(1000):
            journal.write_event(submitted(number))
        until(lambda: any(run.state.is_finished for run in runs.list_latest(limit=9)))
        time.sleep(1.5)
        [run] = runs.list_latest(limit=9)
    assert run.reason == "1,000 new or changed annotations"
    assert len(begun(tmp_path)) == 1


def test_a_clock_that_is_set_back_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Earlier(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) - timedelta(days=400)

    monkeypatch.setattr(trigger, "DEBOUNCE_SECONDS", 0.1)
    with watching(tmp_path, "ends", min_annotations=2) as (runs, journal):
        for number in (1, 2):
            journal.write_event(submitted(number))
        until(lambda: begun(tmp_path) == ["1"] and known(runs, 1).state.is_finished)
        for module_with_clock in (runs_module, journal_module):
            monkeypatch.setattr(module_with_clock, "datetime", Earlier)
        for number in (2, 3, 4):  # the first of them is told of a second time
            journal.write_event(submitted(number))
        until(lambda: begun(tmp_path) == ["1", "2"] and known(runs, 2).state.is_finished)
        later, earlier = runs.list_latest(limit=9)
    assert (later.id, earlier.id) == (2, 1)
    assert later.requested_at < earlier.requested_at
    assert later.reason == "2 new or changed annotations"


def test_a_training_that_is_killed_is_begun_again(tmp_path: Path) -> None:
    with watching(tmp_path, "is killed once") as (runs, _):
        number = runs.enqueue(7, "encoder", reason="x")
        until(lambda: begun(tmp_path) != [] and known(runs, number).pid > 0)
        os.kill(known(runs, number).pid, signal.SIGKILL)
        until(lambda: known(runs, number).state.is_finished)
        assert known(runs, number).state is JobState.REJECTED
    assert begun(tmp_path) == [str(number)] * 2


def test_a_training_that_always_dies_is_given_up(tmp_path: Path) -> None:
    with watching(tmp_path, "dies") as (runs, _):
        number = runs.enqueue(7, "encoder", reason="x")
        until(lambda: known(runs, number).state.is_finished)
        run = known(runs, number)
    assert run.state is JobState.FAILED
    assert run.result is not None
    assert "training.log" in run.result.reason
    assert len(begun(tmp_path)) == MAX_ATTEMPTS


def test_a_server_that_starts_goes_on_where_the_last_one_was(tmp_path: Path) -> None:
    with watching(tmp_path, "waits") as (runs, _):
        number = runs.enqueue(7, "encoder", reason="x")
        until(lambda: begun(tmp_path) != [] and known(runs, number).pid > 0)
    with watching(tmp_path, "ends") as (runs, _):
        until(lambda: known(runs, number).state.is_finished)
        assert known(runs, number).state is JobState.REJECTED
    assert begun(tmp_path) == [str(number)] * 2


def test_a_training_that_outlived_its_server_is_let_go_on(tmp_path: Path) -> None:
    runs = JobStore(tmp_path)
    number = runs.enqueue(7, "encoder", reason="x")
    runs.mark_running(number)
    with runs.lock(7, "encoder") as ours:  # as its process does
        assert ours
        with watching(tmp_path, "ends") as (other, _):
            waiting = other.enqueue(8, "encoder", reason="x")
            time.sleep(0.5)
            assert known(other, waiting).state is JobState.WAITING
            assert begun(tmp_path) == []
    runs.close()


def test_whoever_runs_it_its_end_is_told_once(tmp_path: Path) -> None:
    runs = JobStore(tmp_path)
    number = runs.enqueue(7, "encoder", reason="x")
    runs.mark_running(number)
    told: list[tuple[int, JobState]] = []
    with (
        runs.lock(7, "encoder"),
        watching(tmp_path, "ends", note=lambda run: told.append((run.id, run.state))) as (other, _),
    ):
        after = other.enqueue(8, "encoder", reason="x")
        time.sleep(0.5)
        runs.finish(number, JobState.PROMOTED, JobResult("it is better"))
        until(lambda: len(told) == 2)
        time.sleep(0.3)
    runs.close()
    assert told == [(number, JobState.PROMOTED), (after, JobState.REJECTED)]


@pytest.mark.parametrize("state", list(JobState)[:2])
def test_what_nobody_wants_any_more_is_ended(tmp_path: Path, state: JobState) -> None:
    with watching(tmp_path, "waits") as (runs, _):
        first = runs.enqueue(7, "encoder", reason="x")
        until(lambda: known(runs, first).pid > 0)
        unwanted = first if state is JobState.RUNNING else runs.enqueue(8, "encoder", reason="x")
        assert runs.request_cancel(known(runs, unwanted).project) == 1
        until(lambda: known(runs, unwanted).state.is_finished)
        assert known(runs, unwanted).state is JobState.CANCELLED
        assert known(runs, first).state.is_finished == (first == unwanted)


@pytest.mark.parametrize("how", ["waits", "does not stop"])
def test_only_the_one_that_nobody_wants_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """The server trains for one project, and somebody in a shell for another."""
    monkeypatch.setattr(module, "TERMINATION_GRACE_SECONDS", 0.5)
    with watching(tmp_path, "waits") as (runs, _):
        first = runs.enqueue(7, "encoder", reason="x")
        until(lambda: known(runs, first).pid > 0)
        second = runs.enqueue(8, "encoder", reason="x")
        runs.mark_running(second)
        command = [
            sys.executable,
            "-m",
            "tests.backend.retraining.fake_trainer",
            str(tmp_path),
            how,
        ]
        with subprocess.Popen([*command, "--run", str(second)], cwd=ROOT) as shell:
            until(lambda: known(runs, second).pid == shell.pid)
            until(lambda: len(begun(tmp_path)) == 2)
            time.sleep(0.2)  # until it knows what to do when it is told to stop
            assert runs.request_cancel(8) == 1
            assert shell.wait(60) == (1 if how == "waits" else -signal.SIGKILL)
        until(lambda: known(runs, second).state.is_finished)
        assert known(runs, second).state is JobState.CANCELLED
        time.sleep(0.3)
        assert known(runs, first).state is JobState.RUNNING
        assert begun(tmp_path) == [str(first), str(second)]  # not begun again


def test_without_a_key_the_reason_is_told(tmp_path: Path) -> None:
    runs, journal = JobStore(tmp_path), EventStore(event_store_path(tmp_path))
    told = RetrainSettings(unavailable_reason="there is no key")
    watcher = Supervisor(runs, journal, told, tier="encoder", log_path=tmp_path / "log")
    number = runs.enqueue(7, "encoder", reason="x")
    watcher.poll()
    outcome = known(runs, number).result
    assert outcome is not None
    assert outcome.reason == "there is no key"
    watcher.close()
    journal.close()
