"""What interactive calls brought: known again, kept apart by task, and bounded."""

from backend.server.answered import Answered


def test_what_came_is_known_again_and_kept_apart_by_task() -> None:
    answered = Answered()
    assert answered.came_before("1", ["a", "b", "a"]) == frozenset()
    assert answered.came_before("1", ["b", "c"]) == {"b"}
    assert answered.came_before("2", ["a", "c"]) == frozenset()
    assert answered.came_before("1", ["a", "c", "d"]) == {"a", "c"}
    assert answered.came_before("1\0x", ["y"]) == frozenset()
    assert answered.came_before("1", ["x\0y"]) == frozenset()


def test_what_came_longest_ago_makes_room() -> None:
    answered = Answered(most=3)
    answered.came_before("1", ["a", "b", "c"])
    assert answered.came_before("1", ["a"]) == {"a"}
    answered.came_before("1", ["d"])
    assert answered.came_before("1", ["b"]) == frozenset()
    assert answered.came_before("1", ["a", "d"]) == {"a", "d"}


def test_any_text_is_a_name() -> None:
    answered = Answered(most=1)
    answered.came_before("\ud800", ["\udfff" * 10_000])
    assert answered.came_before("\ud800", ["\udfff" * 10_000]) == {"\udfff" * 10_000}
