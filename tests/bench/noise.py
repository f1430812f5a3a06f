"""Predictions made from gold with a fixed seed and a realistic share of errors."""

from collections.abc import Sequence
from random import Random

from tagalong.ner.tags import IGNORE_INDEX, OUTSIDE

DAMAGE = 0.08  # the share of tags replaced by any other, legal or not


def known(tags: Sequence[int]) -> list[int]:
    """Tags with masked ones read as O."""
    return [OUTSIDE if tag == IGNORE_INDEX else tag for tag in tags]


def noised(tags: list[int], *, n_tags: int, chance: Random) -> list[int]:
    """Tags of which some are replaced, also by illegal I- tags."""
    return [chance.randrange(n_tags) if chance.random() < DAMAGE else tag for tag in tags]
