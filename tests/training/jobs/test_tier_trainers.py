"""A tier that is served but not trained by this release."""

from pathlib import Path

from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.errors import TrainingError
from tagalong.ner.tiers import TRAINABLE_TIERS
from tagalong.training.jobs.tier_trainers import TIER_TRAINERS, read_retraining_recipe
from tests.errors import raises


def test_tier_without_trainer_is_refused(tmp_path: Path) -> None:
    with raises(TrainingError, "tier-without-trainer"):
        read_retraining_recipe(ModelStore(tmp_path), "toy", None, model="toy")


def test_every_trainable_tier_has_a_trainer() -> None:
    assert TIER_TRAINERS.keys() == set(TRAINABLE_TIERS)
