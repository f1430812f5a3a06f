"""Batches of windows with similar lengths, in another order every epoch, reproducible by seed."""

import random
from collections.abc import Iterator, Sequence
from functools import partial
from hashlib import sha256

from tagalong.backend.models.text.windows import batch_by_length

SORTING_POOL_BATCHES = 32  # batches' worth of shuffled items that are sorted by length together


def plan_epoch_batches(
    lengths: Sequence[int], *, max_batch_tokens: int, seed: int, epoch: int, num_processes: int = 1
) -> list[list[int]]:
    """Plan the batches of one epoch, from 0.

    Items are shuffled, sorted by length within pools, cut into batches and shuffled again: little
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
        cuts = batch_by_length([lengths[item] for item in pool], max_tokens=max_batch_tokens)
        batches += [[pool[index] for index in cut] for cut in cuts]
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


class LengthGroupedBatchSampler:
    """A batch sampler that follows a plan, from any step of any epoch.

    The arguments are those of `plan_epoch_batches`, for all epochs.
    """

    def __init__(
        self, lengths: Sequence[int], *, max_batch_tokens: int, seed: int, num_processes: int = 1
    ) -> None:
        self._num_processes = num_processes
        self.plan_epoch = partial(
            plan_epoch_batches,
            lengths,
            max_batch_tokens=max_batch_tokens,
            seed=seed,
            num_processes=num_processes,
        )
        self.start_epoch(0)

    def start_epoch(self, epoch: int, *, skip_batches: int = 0) -> None:
        """Set the epoch of the next iteration, and the steps of it that are already done."""
        # Not named set_epoch: accelerate calls a method of that name, without skipped batches.
        self._batches = self.plan_epoch(epoch=epoch)[skip_batches * self._num_processes :]

    def count_steps(self, epochs: int) -> int:
        """Optimizer steps of each process in the first epochs."""
        batches = sum(len(self.plan_epoch(epoch=epoch)) for epoch in range(epochs))
        return batches // self._num_processes

    def fingerprint(self, epochs: int) -> str:
        """SHA-256 of the plan of the first epochs; trainings with the same plan can be resumed."""
        plans = [self.plan_epoch(epoch=epoch) for epoch in range(epochs)]
        return sha256(repr((self._num_processes, plans)).encode()).hexdigest()

    def __iter__(self) -> Iterator[list[int]]:
        """Batches of the epoch that `start_epoch` chose."""
        return iter(self._batches)

    def __len__(self) -> int:
        """Number of batches of the next iteration."""
        return len(self._batches)
