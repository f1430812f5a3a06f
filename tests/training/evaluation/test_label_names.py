"""Labels of gold, of systems and of the user."""

from collections import Counter

import pytest

from tagalong.backend.label_studio.label_config_parser import parse_label_config
from tagalong.training.evaluation.label_names import (
    choose_labels,
    describe_unknown_labels,
    describe_without_common_label,
)

NAMES = [f"Concept {number:03}" for number in range(300)]
CONFIG = parse_label_config(
    '<View><Labels name="label" toName="text">'
    + "".join(f'<Label value="{name}"/>' for name in NAMES)
    + '</Labels><Text name="text" value="$text"/></View>'
)


def test_labels_of_a_terminology_are_not_all_listed() -> None:
    unknown = describe_unknown_labels("gold entities", Counter(NAMES), CONFIG)
    (apart,) = describe_without_common_label("bundled", NAMES, ["Chemical"], None)
    for sentence in (unknown, apart):
        assert "Concept 019" in sentence
        assert "Concept 020" not in sentence
        assert "and 280 more" in sentence


DRUGS = parse_label_config(
    '<View><Text name="t" value="$t"/><Labels name="l" toName="t">'
    '<Label value="Drug" predicted_values="Chemical"/></Labels></View>'
)
KNOWN = ("Drug", "drug, small molecule", "Mala\u0301dia", "\u00c9tat")


@pytest.mark.parametrize(
    ("values", "chosen"),
    [
        (["Drug, Drug", "Drug"], ("Drug",)),
        (["drug, small molecule,Drug"], ("drug, small molecule", "Drug")),
        (["drug, small"], ("drug", "small")),  # unknown names
        (["Mal\u00e1dia,E\u0301tat"], ("Mala\u0301dia", "\u00c9tat")),  # as a terminal composes
        ([" , "], ()),
    ],
)
def test_names_may_have_commas_and_accents(values: list[str], chosen: tuple[str, ...]) -> None:
    assert choose_labels(values, KNOWN) == chosen


def test_names_of_a_model_become_those_of_the_project() -> None:
    assert choose_labels(["Chemical,other"], (), DRUGS) == ("Drug", "other")
