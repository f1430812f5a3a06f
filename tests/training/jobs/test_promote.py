"""The last step of a retraining, after somebody went back to the bundled version meanwhile."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tagalong.backend.retraining.job import JobResult, JobState
from tagalong.backend.retraining.job_store import JobStore
from tagalong.backend.storage.model_store import ModelStore
from tagalong.training.jobs.promote import promote_version
from tests.versions import publish_number

STUDIO: Any = SimpleNamespace(get_project=lambda _: None)  # a Label Studio that has every project


@pytest.fixture
def models(tmp_path: Path) -> ModelStore:
    """A store whose bundled version is a small one."""
    shipped = ModelStore(tmp_path / "shipped")
    shipped.promote("encoder", publish_number(shipped, 9, name="shipped").version)
    return ModelStore(tmp_path / "models", bundled_root=shipped.root)


@pytest.mark.parametrize("promoted", [True, False])
def test_a_retraining_leaves_the_bundled_version_that_somebody_went_back_to(
    models: ModelStore, promoted: bool
) -> None:
    bundled = models.served_version("encoder")
    first, trained = (publish_number(models, value).version for value in range(2))
    models.promote("encoder", first)
    if promoted:
        models.promote("encoder", trained)
    models.promote("encoder", "bundled")
    runs = JobStore(models.root)
    try:
        number = runs.enqueue(1, "encoder", reason="the train button")
        [run] = runs.list_latest(limit=1)
        assert run.id == number
        outcome = JobResult(
            "better",
            should_promote=True,
            version=trained,
            previous_version=first,
            was_promoted=promoted,
        )
        state, after = promote_version(STUDIO, run, runs, models, outcome)
    finally:
        runs.close()
    assert state is JobState.REJECTED
    assert bundled in after.reason
    assert models.served_version("encoder") == bundled
