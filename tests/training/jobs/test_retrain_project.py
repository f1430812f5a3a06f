"""Retraining on a project."""

from pathlib import Path
from unittest.mock import create_autospec

from tagalong.backend.label_studio.api.client import LabelStudioClient
from tagalong.backend.label_studio.api.outage_retry import RateLimitedRetry
from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.retraining.job_store import JobStore
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.errors import TrainingError
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.jobs.job_requests import RetrainOptions
from tagalong.training.jobs.project_data import ProjectTrainingData
from tagalong.training.jobs.retrain_project import (
    Retraining,
    _apply_warm_start,
    train_and_evaluate,
)
from tagalong.training.recipes.llm_recipe import LLMRecipe
from tests.errors import raises


def test_warm_start_without_served_version_is_noted(tmp_path: Path) -> None:
    split = TrainDevSplit((), (), ("Disease",))
    data = ProjectTrainingData(split, (), ())
    recipe = LLMRecipe(BaseModelRef("base"))
    started = _apply_warm_start(data, "llm", recipe, ModelStore(tmp_path))
    assert started.split == split
    assert len(started.notes) == 1


def test_tier_without_trainer_fails_before_anything_is_downloaded(tmp_path: Path) -> None:
    jobs = JobStore(tmp_path)
    job = jobs.read_job(jobs.enqueue(1, "terms", reason="a test", last_event_id=0))
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
