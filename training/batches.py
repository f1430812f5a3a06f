"""Windows to batches: similar lengths together, another order every epoch, the same for a seed."""

import random
from collections.abc import Iterator, Sequence
from hashlib import sha256

from backend.window_encoder import batch_by_length

POOL_BATCHES = 32  # batches' worth of shuffled items that are sorted by length together


def plan_epoch(
    lengths: Sequence[int], *, budget: int, seed: int, epoch: int, processes: int = 1
) -> list[list[int]]:
    """Plan one epoch.

    Items are shuffled, sorted by length within pools, cut into batches and shuffled again: little
    padding, yet batches differ between epochs. A pure function of its arguments, so that a resumed
    training and every process of a parallel one see the same plan.

    Args:
        lengths: Tokens of each item.
        budget: Tokens a padded batch may have; a longer item gets a batch of its own.
        seed: Of the training.
        epoch: From 0.
        processes: How many share the epoch.

    Returns:
        Batches of indices. Every item occurs; a few batches occur twice where that makes their
        number a multiple of `processes`, so that none waits for another at the end.
    """
    shuffled = random.Random(f"{seed}/{epoch}")  # noqa: S311 - an order, not a secret
    order = list(range(len(lengths)))
    shuffled.shuffle(order)
    batches: list[list[int]] = []
    for pool in _pools(order, lengths, size=POOL_BATCHES * budget):
        cuts = batch_by_length([lengths[item] for item in pool], budget=budget)
        batches += [[pool[index] for index in cut] for cut in cuts]
    shuffled.shuffle(batches)
    missing = -len(batches) % processes
    return batches + [batches[index % len(batches)] for index in range(missing)]


def _pools(order: Sequence[int], lengths: Sequence[int], *, size: int) -> Iterator[list[int]]:
    """Runs of items with about `size` tokens each."""
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


class EpochBatches:
    """A batch sampler that follows a plan, from any step of any epoch.

    Args:
        lengths: Tokens of each item.
        budget: Tokens a padded batch may have.
        seed: Of the training.
        processes: How many share each epoch.
    """

    def __init__(
        self, lengths: Sequence[int], *, budget: int, seed: int, processes: int = 1
    ) -> None:
        self._lengths = lengths
        self._budget = budget
        self._seed = seed
        self._processes = processes
        self.turn_to(0)

    @property
    def items(self) -> int:
        """How many items an epoch goes through."""
        return len(self._lengths)

    def plan(self, epoch: int) -> list[list[int]]:
        """The batches of an epoch, of all processes."""
        return plan_epoch(
            self._lengths,
            budget=self._budget,
            seed=self._seed,
            epoch=epoch,
            processes=self._processes,
        )

    def turn_to(self, epoch: int, *, skip: int = 0) -> None:
        """Choose what the next iteration yields.

        Args:
            epoch: From 0.
            skip: Steps already done, each one batch per process.
        """
        self._batches = self.plan(epoch)[skip * self._processes :]

    def steps(self, epochs: int) -> int:
        """Optimizer steps that each process makes in the first epochs."""
        return sum(len(self.plan(epoch)) for epoch in range(epochs)) // self._processes

    def fingerprint(self, epochs: int) -> str:
        """Names the plan of the first epochs: equal ones make equal trainings.

        Args:
            epochs: How many.

        Returns:
            SHA-256 in hexadecimal.
        """
        plans = [self.plan(epoch) for epoch in range(epochs)]
        return sha256(repr((self._processes, plans)).encode()).hexdigest()

    def __iter__(self) -> Iterator[list[int]]:
        """The batches chosen by `turn_to`."""
        return iter(self._batches)

    def __len__(self) -> int:
        """How many batches the next iteration yields."""
        return len(self._batches)
