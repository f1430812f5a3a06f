"""The last step of a retraining, after somebody went back to the bundled version meanwhile."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backend.retraining.run import Outcome, RunState
from backend.retraining.runs import Runs
from cli.retrain_promote import promote
from ner.store import Store
from tests.versions import publish_number

STUDIO: Any = SimpleNamespace(project=lambda _: None)  # a Label Studio that has every project


@pytest.fixture
def models(tmp_path: Path) -> Store:
    """A store whose bundled version is a small one."""
    shipped = Store(tmp_path / "shipped")
    shipped.promote("encoder", publish_number(shipped, 9, name="shipped").version)
    return Store(tmp_path / "models", bundled=shipped.root)


@pytest.mark.parametrize("promoted", [True, False])
def test_a_retraining_leaves_the_bundled_version_that_somebody_went_back_to(
    models: Store, promoted: bool
) -> None:
    bundled = models.serving("encoder")
    first, trained = (publish_number(models, value).version for value in range(2))
    models.promote("encoder", first)
    if promoted:
        models.promote("encoder", trained)
    models.promote("encoder", "bundled")
    runs = Runs(models.root)
    try:
        number = runs.ask(1, "encoder", reason="the train button")
        [run] = runs.latest(limit=1)
        assert run.id == number
        outcome = Outcome("better", promote=True, version=trained, against=first, promoted=promoted)
        state, after = promote(STUDIO, run, runs, models, outcome)
    finally:
        runs.close()
    assert state is RunState.KEPT
    assert bundled in after.reason
    assert models.serving("encoder") == bundled
