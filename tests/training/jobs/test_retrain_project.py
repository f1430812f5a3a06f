"""Retraining on a project."""

from pathlib import Path
from unittest.mock import create_autospec

import pytest

from tagalong.backend.label_studio.api.client import LabelStudioClient, connect
from tagalong.backend.label_studio.api.outage_retry import RateLimitedRetry
from tagalong.backend.label_studio.label_config_parser import parse_label_config
from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.retraining.job import JobResult, JobState
from tagalong.backend.retraining.job_store import JobStore
from tagalong.backend.storage.model_store import ModelStore
from tagalong.backend.storage.project_key import ProjectKey
from tagalong.ner.errors import InputError, TrainingError
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.jobs import retrain_project
from tagalong.training.jobs.job_requests import RetrainOptions, cancel_jobs, claim_job
from tagalong.training.jobs.project_data import ProjectTrainingData
from tagalong.training.jobs.retrain import find_project_key, promote_version, run_job
from tagalong.training.jobs.retrain_project import (
    Retraining,
    _apply_warm_start,
    _read_data,
    train_and_evaluate,
)
from tagalong.training.recipes.llm_recipe import LLMRecipe
from tests.backend.url_project import KEY, PREFIX, TEXTS, XML, serve_url_project
from tests.errors import assert_wording, raises

PROJECT = ProjectKey(1, 1795378435)  # as `serve_url_project` has it


def test_warm_start_without_served_version_is_noted(tmp_path: Path) -> None:
    split = TrainDevSplit((), (), ("Disease",))
    data = ProjectTrainingData(split, (), ())
    recipe = LLMRecipe(BaseModelRef("base"))
    started = _apply_warm_start(data, "llm", recipe, ModelStore(tmp_path), model="llm")
    assert started.split == split
    assert len(started.notes) == 1


def test_texts_behind_addresses_are_read_once(tmp_path: Path) -> None:
    jobs = JobStore(tmp_path)
    job = jobs.read_job(jobs.enqueue(PROJECT, "encoder", reason="a test", last_event_id=0))
    assert job is not None
    config = parse_label_config(XML)
    with (
        serve_url_project() as (label_studio, other),
        connect(f"http://{label_studio.host}", KEY) as client,
    ):
        options = RetrainOptions(
            label_studio_url=client.url,
            label_studio_key=KEY,
            allowed_hosts=frozenset({label_studio.host, other.host}),
            held_out_share=0.3,
        )
        retry = RateLimitedRetry(notify=print)
        run = Retraining(job, jobs, ModelStore(tmp_path), options, client, retry, print)
        data, again = _read_data(run, config), _read_data(run, config)
        headers = [dict(sent) for path, sent in label_studio.requests if path.startswith(PREFIX)]
    documents = (*data.split.train, *data.split.dev, *data.held_out_documents)
    assert {document.text for document in documents} == set(TEXTS) - {TEXTS[-2]}
    assert {document.span_text(*document.spans) for document in documents} == {"Naloxone"}
    assert {document.meta["year"] for document in documents} == {1999}
    assert "task 5" in data.notes[0]
    assert again.split == data.split
    assert len(headers) == 5
    assert {sent.get("Authorization") for sent in headers} == {f"Token {KEY}"}
    assert [sent.get("Authorization") for _, sent in other.requests] == [None]


def test_no_readable_text_is_refused(tmp_path: Path) -> None:
    jobs = JobStore(tmp_path)
    job = jobs.read_job(jobs.enqueue(PROJECT, "encoder", reason="a test", last_event_id=0))
    assert job is not None
    with (
        serve_url_project() as (label_studio, _),
        connect(f"http://{label_studio.host}", KEY) as client,
    ):
        options = RetrainOptions(label_studio_url=client.url, label_studio_key=KEY)
        retry = RateLimitedRetry(notify=print)
        run = Retraining(job, jobs, ModelStore(tmp_path), options, client, retry, print)
        with raises(InputError, "text-host-not-allowed"):
            _read_data(run, parse_label_config(XML))
    assert not list(tmp_path.rglob("tasks.json"))


def test_tier_without_trainer_fails_before_anything_is_downloaded(tmp_path: Path) -> None:
    jobs = JobStore(tmp_path)
    job = jobs.read_job(jobs.enqueue(PROJECT, "terms", reason="a test", last_event_id=0))
    assert job is not None
    client = create_autospec(LabelStudioClient)
    run = Retraining(
        job,
        jobs,
        ModelStore(tmp_path),
        RetrainOptions(label_studio_url=None, label_studio_key=None),
        client,
        RateLimitedRetry(notify=print),
        on_progress=print,
    )
    with raises(TrainingError, "tier-without-trainer"):
        train_and_evaluate(run)
    assert client.mock_calls == []


OTHER = ProjectKey(1, 1795378436)  # of another Label Studio, or deleted meanwhile


def test_job_of_another_project_with_the_same_number_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrain_project, "read_retraining_recipe", lambda *_, **__: None)
    jobs, store = JobStore(tmp_path), ModelStore(tmp_path)
    with serve_url_project() as (label_studio, _):
        options = RetrainOptions(
            label_studio_url=f"http://{label_studio.host}", label_studio_key=KEY
        )
        assert find_project_key(options, 1) == PROJECT
        assert find_project_key(options, 2) == ProjectKey(2)  # there is none
        job = run_job(jobs, jobs.enqueue(OTHER, "encoder", reason="a test"), store, options)
        assert job.state is JobState.FAILED
        assert job.result is not None
        assert_wording(job.result.reason, "training-of-another-project")
        assert "/api/tasks/" not in [path.partition("?")[0] for path, _ in label_studio.requests]
        with connect(options.label_studio_url or "", KEY) as client:
            run = Retraining(job, jobs, store, options, client, RateLimitedRetry(), print)
            trained = JobResult("better", should_promote=True, version="v-1")
            state, result = promote_version(run, trained)
    assert state is JobState.REJECTED
    assert result.reason.startswith("project 1 is gone: promote v-1")
    assert store.promoted_version("encoder") is None
    jobs.close()


def test_command_cancels_the_jobs_for_an_id_and_continues_those_of_its_project(
    tmp_path: Path,
) -> None:
    jobs, store = JobStore(tmp_path), ModelStore(tmp_path)
    ours, other = (jobs.enqueue(key, "encoder", reason="a test") for key in (PROJECT, OTHER))
    for number in (ours, other):
        jobs.mark_running(number)  # its process was killed
    with claim_job(jobs, store, PROJECT, "encoder") as claimed:
        assert claimed == ours
    assert cancel_jobs(jobs, 2) == 0
    assert cancel_jobs(jobs, 1) == 2
    assert jobs.list_active() == []
    jobs.close()
