"""Retraining jobs, run as the server runs them by ``python -m tagalong.training.jobs``."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tagalong.backend.label_studio.api.outage_retry import RateLimitedRetry
from tagalong.backend.retraining.job import JobResult, JobState
from tagalong.backend.retraining.job_store import EX_TEMPFAIL, JobStore
from tagalong.backend.storage.model_store import ModelStore
from tagalong.backend.storage.project_key import ProjectKey
from tagalong.cli.terminal.subprocesses import RETRAINING_COMMAND
from tagalong.training.jobs.job_requests import RetrainOptions
from tagalong.training.jobs.retrain import promote_version
from tagalong.training.jobs.retrain_project import Retraining
from tests.backend.web_server import Page, serve_pages
from tests.forked_process import ForkedProcess, run_forked
from tests.versions import publish_number

ROOT = Path(__file__).parents[3]
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.startswith("LABEL_STUDIO")
} | {"PYTHONPATH": str(ROOT / "src")}
ENTRY = ("-m", "tagalong.training.jobs")


@pytest.fixture
def job_store(tmp_path: Path) -> Iterator[JobStore]:
    store = JobStore(tmp_path)
    yield store
    store.close()


def run_entry(models: Path, job_id: int) -> subprocess.CompletedProcess[str]:
    """Run the server's command in a folder with a module that must not be imported."""
    (models / "tagalong.py").write_text("raise SystemExit('the wrong module')")
    return subprocess.run(
        [*RETRAINING_COMMAND, "--models", str(models), "--run", str(job_id)],
        check=False,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        cwd=models,
    )


@pytest.mark.slow
def test_failed_job_is_recorded(job_store: JobStore, tmp_path: Path) -> None:
    job_id = job_store.enqueue(ProjectKey(7), "encoder", reason="the train button")
    done = run_entry(tmp_path, job_id)
    job = job_store.read_job(job_id)
    assert job is not None
    assert job.state is JobState.FAILED
    assert job.result is not None
    assert "LABEL_STUDIO_URL" in job.result.reason
    assert done.stderr.splitlines()[1:] == [f"training {job_id} of project 7: failed "]
    assert done.stderr.startswith("the training failed: label-studio-unknown at ")
    assert done.returncode == 1
    assert job.attempts == 1
    assert not job_store.work_dir(job.id).exists()


def test_job_of_another_process_is_left_alone(job_store: JobStore, tmp_path: Path) -> None:
    job_id = job_store.enqueue(ProjectKey(7), "encoder", reason="the train button")
    with job_store.lock(ProjectKey(7), "encoder") as locked:
        assert locked
        done = run_forked(*ENTRY, "--models", tmp_path, "--run", job_id, env=ENVIRONMENT)
        assert done.returncode == EX_TEMPFAIL
    job = job_store.read_job(job_id)
    assert job is not None
    assert job.state is JobState.WAITING


def test_interrupted_attempt_is_not_counted(job_store: JobStore, tmp_path: Path) -> None:
    job_id = job_store.enqueue(ProjectKey(7), "encoder", reason="the train button")
    with socket.create_server(("127.0.0.1", 0)) as silent:  # a Label Studio without answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        env = ENVIRONMENT | {"LABEL_STUDIO_URL": url, "LABEL_STUDIO_API_KEY": "k", "NO_PROXY": "*"}
        log = tmp_path / "trainer.log"
        process = ForkedProcess(*ENTRY, "--models", tmp_path, "--run", job_id, env=env, log=log)
        silent.settimeout(60)
        connection, _ = silent.accept()
        with connection:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) != 0
    job = job_store.read_job(job_id)
    assert job is not None
    assert (job.state, job.attempts) == (JobState.RUNNING, 0)


def test_log_does_not_quote_label_studio(job_store: JobStore, tmp_path: Path) -> None:
    job_id = job_store.enqueue(ProjectKey(7), "encoder", reason="the train button")
    refusal = Page(b'{"detail": "PatientJohnDoe"}', status=400)
    with serve_pages({"/api/projects/7/": refusal}) as label_studio:
        url = f"http://{label_studio.host}"
        env = ENVIRONMENT | {"LABEL_STUDIO_URL": url, "LABEL_STUDIO_API_KEY": "k", "NO_PROXY": "*"}
        done = run_forked(*ENTRY, "--models", tmp_path, "--run", job_id, env=env)
    job = job_store.read_job(job_id)
    assert job is not None
    assert job.result is not None
    assert "PatientJohnDoe" in job.result.reason  # for the status page
    assert done.stderr.startswith("the training failed: label-studio-refused at ")
    assert "PatientJohnDoe" not in done.stdout + done.stderr


UNEXPECTED = """
import sys
from tagalong.training.jobs import __main__ as program
def fail(*_, **__):
    raise KeyError("PatientJohnDoe")
program.run_job = fail
try:
    program.main()
except KeyError:
    sys.excepthook(*sys.exc_info())
"""


def test_log_has_the_kind_of_an_unexpected_error_only(tmp_path: Path) -> None:
    done = run_forked("-c", UNEXPECTED, "--models", tmp_path, "--run", 1, env=ENVIRONMENT)
    assert done.stderr.startswith("uncaught: KeyError at ")
    assert len(done.stderr.splitlines()) == 1
    assert "PatientJohnDoe" not in done.stderr


def test_finished_job_is_not_run_again(job_store: JobStore, tmp_path: Path) -> None:
    done = run_forked(*ENTRY, "--models", tmp_path, "--run", 3, env=ENVIRONMENT)
    assert done.returncode == 1
    assert "no-such-training at " in done.stderr
    assert (RETRAINING_COMMAND[0], RETRAINING_COMMAND[-2:]) == (sys.executable, ENTRY)


OPTIONS = RetrainOptions(label_studio_url=None, label_studio_key=None)
STUDIO: Any = SimpleNamespace(
    get_project=lambda number: SimpleNamespace(id=number, created=1795354311)
)  # a Label Studio that has any project


@pytest.fixture
def models(tmp_path: Path) -> ModelStore:
    """A store with a small bundled version."""
    shipped = ModelStore(tmp_path / "shipped")
    shipped.promote("encoder", publish_number(shipped, 9, name="shipped").version)
    return ModelStore(tmp_path / "models", bundled_root=shipped.root)


@pytest.mark.parametrize("promoted", [True, False])
def test_retraining_keeps_a_rollback_to_the_bundled_version(
    models: ModelStore, promoted: bool
) -> None:
    bundled = models.current_version("encoder")
    first, trained = (publish_number(models, value).version for value in range(2))
    models.promote("encoder", first)
    if promoted:
        models.promote("encoder", trained)
    models.promote("encoder", "bundled")
    runs = JobStore(models.root)
    try:
        number = runs.enqueue(ProjectKey(1), "encoder", reason="the train button")
        [run] = runs.list_latest(limit=1)
        assert run.id == number
        outcome = JobResult(
            "better",
            should_promote=True,
            version=trained,
            compared_version=first,
            was_promoted=promoted,
        )
        state, after = promote_version(
            Retraining(run, runs, models, OPTIONS, STUDIO, RateLimitedRetry(), print), outcome
        )
    finally:
        runs.close()
    assert state is JobState.REJECTED
    assert bundled in after.reason
    assert models.current_version("encoder") == bundled
