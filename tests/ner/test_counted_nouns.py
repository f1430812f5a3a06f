"""Numbers with their nouns."""

import pytest

from tagalong.ner.counted_nouns import pluralize


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((1, "document"), "1 document"),
        ((0, "document"), "0 documents"),
        ((1234, "gold entity"), "1,234 gold entities"),
        ((1, "gold entity"), "1 gold entity"),
        ((2, "pass", "passes"), "2 passes"),
        ((1, "task was", "tasks were"), "1 task was"),
    ],
)
def test_a_noun_has_the_form_of_its_number(arguments: tuple[int, str], expected: str) -> None:
    assert pluralize(*arguments) == expected
