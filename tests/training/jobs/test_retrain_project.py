"""Retraining on a project."""

from pathlib import Path

from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.storage.model_store import ModelStore
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.jobs.project_data import ProjectTrainingData
from tagalong.training.jobs.retrain_project import _apply_warm_start
from tagalong.training.recipes.llm_recipe import LLMRecipe


def test_warm_start_without_served_version_is_noted(tmp_path: Path) -> None:
    split = TrainDevSplit((), (), ("Disease",))
    data = ProjectTrainingData(split, (), ())
    recipe = LLMRecipe(BaseModelRef("base"))
    started = _apply_warm_start(data, "llm", recipe, ModelStore(tmp_path))
    assert started.split == split
    assert len(started.notes) == 1
