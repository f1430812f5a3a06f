"""Predictions made from gold with a fixed seed: what a fair tagger gets right and wrong."""

from random import Random

from tagalong.ner.tags import IGNORE_INDEX, OUTSIDE

DAMAGE = 0.08  # the share of tags replaced by any other, legal or not


def known(tags: list[int]) -> list[int]:
    """Tags with the unknown ones read as O."""
    return [OUTSIDE if tag == IGNORE_INDEX else tag for tag in tags]


def noised(tags: list[int], *, n_tags: int, chance: Random) -> list[int]:
    """Tags of which some are replaced: I- tags that may not stand where they do included."""
    return [chance.randrange(n_tags) if chance.random() < DAMAGE else tag for tag in tags]
