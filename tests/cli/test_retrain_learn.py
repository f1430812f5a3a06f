"""What a retraining does if the served version also serves other projects."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backend.neighbours import Change, Neighbour
from backend.retraining.run import Outcome
from cli.retrain_learn import spare_neighbours
from ner.errors import LabelStudioError
from ner.store import Store

CHANGE = Change(1, "encoder", "v1", old=("Disease",), new=("Disease",))
POLITE: Any = SimpleNamespace(patiently=lambda ask: ask())
BETTER = Outcome("it is better", promote=True, version="v2")
WORSE = Outcome("it is worse", version="v2", notes=("A note.",))


@pytest.fixture
def spare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    def spare(outcome: Outcome, found: Any) -> Outcome:
        def find(*_: object) -> list[Neighbour]:
            if isinstance(found, Exception):
                raise found
            return list(found)

        monkeypatch.setattr("backend.neighbours.find_neighbours", find)
        studio: Any = None
        return spare_neighbours(studio, POLITE, Store(tmp_path), CHANGE, outcome)

    return spare


def test_nothing_changes_without_other_projects(spare: Any) -> None:
    assert spare(BETTER, []) == BETTER
    assert spare(WORSE, []) == WORSE


def test_other_projects_hold_a_promotion_back(spare: Any) -> None:
    kept = spare(BETTER, [Neighbour(2, "Two", ())])
    assert not kept.promote
    assert kept.reason.startswith("v1 also serves project 2 (Two)")


def test_who_promotes_a_rejected_version_by_hand_knows_the_other_projects(spare: Any) -> None:
    kept = spare(WORSE, [Neighbour(2, "Two", ())])
    assert kept.reason == "it is worse"
    assert kept.notes[0] == "A note."
    assert kept.notes[1].startswith("v1 also serves project 2 (Two)")


def test_nothing_is_promoted_if_label_studio_does_not_say(spare: Any) -> None:
    away = LabelStudioError("it is away", problem="unreachable")
    kept = spare(BETTER, away)
    assert not kept.promote
    assert kept.reason.startswith("it is unknown which other projects v1 serves (it is away)")
    assert spare(WORSE, away) == WORSE
