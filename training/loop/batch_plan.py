"""Batches of windows with similar lengths, in another order every epoch, reproducible by seed."""

import random
from collections.abc import Iterator, Sequence

from tagalong.backend.models.text.windows import batch_by_length

SORTING_POOL_BATCHES = 32  # batches' worth of shuffled items that are sorted by length together


def plan_epoch_batches(
    lengths: Sequence[int], *, max_batch_tokens: int, seed: int, num_processes: int = 1, epoch: int
) -> list[list[int]]:
    """Plan the batches of one epoch, from 0.

    Items are shuffled, sorted by length within pools, split into batches and shuffled again: little
    padding, yet batches differ between epochs. A pure function of its arguments, so that a resumed
    training and all processes of a parallel one make the same plan.

    Returns batches of indices, padded to at most `max_batch_tokens`; a longer item gets a batch of
    its own. Every item occurs. A few batches occur twice, so that the number of batches is a
    multiple of `num_processes` and no process waits at the end.
    """
    generator = random.Random(f"{seed}/{epoch}")  # noqa: S311 - an order, not a secret
    order = list(range(len(lengths)))
    generator.shuffle(order)
    batches: list[list[int]] = []
    for pool in _split_into_pools(order, lengths, size=SORTING_POOL_BATCHES * max_batch_tokens):
        groups = batch_by_length([lengths[item] for item in pool], max_tokens=max_batch_tokens)
        batches += [[pool[index] for index in group] for group in groups]
    generator.shuffle(batches)  # or every pool would go from long to short items
    missing = -len(batches) % num_processes
    return batches + [batches[index % len(batches)] for index in range(missing)]


def _split_into_pools(
    order: Sequence[int], lengths: Sequence[int], *, size: int
) -> Iterator[list[int]]:
    """Split items into runs of about `size` tokens."""
    pool: list[int] = []
    tokens = 0
    for item in order:
        pool.append(item)
        tokens += lengths[item]
        if tokens >= size:
            yield pool
            pool, tokens = [], 0
    if pool:
        yield pool
