"""What a retraining does if the served version also serves other projects."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tagalong.backend.label_studio.affected_projects import AffectedProject, VersionChange
from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.retraining.job import JobResult
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.errors import LabelStudioError
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.jobs.project_data import ProjectTrainingData
from tagalong.training.jobs.retrain_project import (
    _apply_warm_start,
    hold_back_for_other_projects,
)
from tagalong.training.recipes.llm_recipe import LLMRecipe

CHANGE = VersionChange(1, "encoder", "v1", old_labels=("Disease",), new_labels=("Disease",))
POLITE: Any = SimpleNamespace(call=lambda ask: ask())
BETTER = JobResult("it is better", should_promote=True, version="v2")
WORSE = JobResult("it is worse", version="v2", notes=("A note.",))


@pytest.fixture
def spare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    def spare(outcome: JobResult, found: Any) -> JobResult:
        def find(*_: object) -> list[AffectedProject]:
            if isinstance(found, Exception):
                raise found
            return list(found)

        monkeypatch.setattr("tagalong.training.jobs.retrain_project.find_affected_projects", find)
        run: Any = SimpleNamespace(client=None, retry=POLITE, store=ModelStore(tmp_path))
        return hold_back_for_other_projects(run, CHANGE, outcome)

    return spare


def test_nothing_changes_without_other_projects(spare: Any) -> None:
    assert spare(BETTER, []) == BETTER
    assert spare(WORSE, []) == WORSE


def test_other_projects_hold_a_promotion_back(spare: Any) -> None:
    kept = spare(BETTER, [AffectedProject(2, "Two", ())])
    assert not kept.should_promote
    assert kept.reason.startswith("v1 also serves project 2 (Two)")


def test_who_promotes_a_rejected_version_by_hand_knows_the_other_projects(spare: Any) -> None:
    kept = spare(WORSE, [AffectedProject(2, "Two", ())])
    assert kept.reason == "it is worse"
    assert kept.notes[0] == "A note."
    assert kept.notes[1].startswith("v1 also serves project 2 (Two)")


def test_nothing_is_promoted_if_label_studio_does_not_say(spare: Any) -> None:
    away = LabelStudioError("it is away", code="unreachable")
    kept = spare(BETTER, away)
    assert not kept.should_promote
    assert kept.reason.startswith("it is unknown which other projects v1 serves (it is away)")
    assert spare(WORSE, away) == WORSE


def test_a_warm_start_without_a_served_version_is_noted(tmp_path: Path) -> None:
    split = TrainDevSplit((), (), ("Disease",))
    data = ProjectTrainingData(split, (), ())
    recipe = LLMRecipe(BaseModelRef("base"))
    started = _apply_warm_start(data, "llm", recipe, ModelStore(tmp_path))
    assert started.split == split
    assert len(started.notes) == 1
