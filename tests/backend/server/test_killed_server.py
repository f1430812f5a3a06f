"""A killed server has stored every acknowledged event once, in order."""

import random
from pathlib import Path

import pytest

from tests.chaos.server_history import run_with_kills


@pytest.mark.slow
def test_acknowledged_events_are_stored_once_and_in_order(tmp_path: Path) -> None:
    history = run_with_kills(tmp_path, kills=2, seconds=0.3, chance=random.Random(1))
    assert history.find_faults() == []
    assert history.acknowledged
    assert history.repeated
    assert history.predicted
