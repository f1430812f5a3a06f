"""Words that a base model has no token for."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.jobs.base_vocabulary import describe_unknown_words
from tests.languages import LABELS, read_sentences


@pytest.mark.parametrize(
    ("family", "language", "told"),
    [("bert-uncased", "zh", True), ("bert-chinese", "zh", False), ("llama", "th", False)],
)
def test_unknown_words_are_told(
    tiny_base: Callable[[str], Path], family: str, language: str, told: bool
) -> None:
    split = TrainDevSplit(read_sentences(language), [], LABELS)
    described = describe_unknown_words(BaseModelRef(str(tiny_base(family))), split)
    assert ("--base" in described) == told, described


def test_nothing_is_told_without_documents(tiny_base: Callable[[str], Path]) -> None:
    base = BaseModelRef(str(tiny_base("bert-uncased")))
    assert describe_unknown_words(base, TrainDevSplit([], [], LABELS)) == ""
