"""Predictions made from gold with a fixed seed and a realistic share of errors."""

from collections.abc import Sequence
from random import Random

from tagalong.ner.tags import IGNORE_INDEX, OUTSIDE

REPLACED_SHARE = 0.08  # of the tags, by any tag, legal or not


def unmask(tags: Sequence[int]) -> list[int]:
    """Replace masked tags by O."""
    return [OUTSIDE if tag == IGNORE_INDEX else tag for tag in tags]


def add_noise(tags: list[int], *, n_tags: int, random: Random) -> list[int]:
    """Replace some tags at random, also by illegal I- tags."""
    return [random.randrange(n_tags) if random.random() < REPLACED_SHARE else tag for tag in tags]
