"""Regions seen in interactive requests: kept by task, and bounded."""

import pytest

from tagalong.backend.server.prediction import handler
from tagalong.backend.server.prediction.handler import SeenRegions


def test_seen_regions_are_kept_by_task() -> None:
    answered = SeenRegions()
    assert answered.mark_seen("1", ["a", "b", "a"]) == frozenset()
    assert answered.mark_seen("1", ["b", "c"]) == {"b"}
    assert answered.mark_seen("2", ["a", "c"]) == frozenset()
    assert answered.mark_seen("1", ["a", "c", "d"]) == {"a", "c"}
    assert answered.mark_seen("1\0x", ["y"]) == frozenset()
    assert answered.mark_seen("1", ["x\0y"]) == frozenset()


def test_oldest_seen_regions_are_evicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "MAX_SEEN_REGIONS", 3)
    answered = SeenRegions()
    answered.mark_seen("1", ["a", "b", "c"])
    assert answered.mark_seen("1", ["a"]) == {"a"}
    answered.mark_seen("1", ["d"])
    assert answered.mark_seen("1", ["b"]) == frozenset()
    assert answered.mark_seen("1", ["a", "d"]) == {"a", "d"}


def test_region_id_may_be_any_text() -> None:
    answered = SeenRegions()
    answered.mark_seen("\ud800", ["\udfff" * 10_000])
    assert answered.mark_seen("\ud800", ["\udfff" * 10_000]) == {"\udfff" * 10_000}
