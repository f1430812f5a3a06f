"""Sentences on labels of gold and of systems."""

from collections import Counter

from tagalong.backend.label_studio.label_config_parser import parse_label_config
from tagalong.training.evaluation.label_names import (
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
