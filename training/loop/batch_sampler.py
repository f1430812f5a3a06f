"""Windows to batches: similar lengths together, another order every epoch, the same for a seed."""

import random
from collections.abc import Iterator, Sequence
from hashlib import sha256

from tagalong.backend.models.text.window_encoder import batch_by_length

SORTING_POOL_BATCHES = 32  # batches' worth of shuffled items that are sorted by length together


def plan_epoch_batches(
    lengths: Sequence[int], *, max_batch_tokens: int, seed: int, epoch: int, num_processes: int = 1
) -> list[list[int]]:
    """Plan one epoch.

    Items are shuffled, sorted by length within pools, cut into batches and shuffled again: little
    padding, yet batches differ between epochs. A pure function of its arguments, so that a resumed
    training and every process of a parallel one see the same plan.

    Args:
        lengths: Tokens of each item.
        max_batch_tokens: Tokens a padded batch may have; a longer item gets a batch of its own.
        seed: Of the training.
        epoch: From 0.
        num_processes: How many share the epoch.

    Returns:
        Batches of indices. Every item occurs; a few batches occur twice where that makes their
        number a multiple of `processes`, so that none waits for another at the end.
    """
    shuffled = random.Random(f"{seed}/{epoch}")  # noqa: S311 - an order, not a secret
    order = list(range(len(lengths)))
    shuffled.shuffle(order)
    batches: list[list[int]] = []
    for pool in _iterate_sorting_pools(
        order, lengths, size=SORTING_POOL_BATCHES * max_batch_tokens
    ):
        cuts = batch_by_length([lengths[item] for item in pool], max_tokens=max_batch_tokens)
        batches += [[pool[index] for index in cut] for cut in cuts]
    shuffled.shuffle(batches)
    missing = -len(batches) % num_processes
    return batches + [batches[index % len(batches)] for index in range(missing)]


def _iterate_sorting_pools(
    order: Sequence[int], lengths: Sequence[int], *, size: int
) -> Iterator[list[int]]:
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


class LengthGroupedBatchSampler:
    """A batch sampler that follows a plan, from any step of any epoch.

    Args:
        lengths: Tokens of each item.
        max_batch_tokens: Tokens a padded batch may have.
        seed: Of the training.
        num_processes: How many share each epoch.
    """

    def __init__(
        self, lengths: Sequence[int], *, max_batch_tokens: int, seed: int, num_processes: int = 1
    ) -> None:
        self._lengths = lengths
        self._max_tokens = max_batch_tokens
        self._seed = seed
        self._num_processes = num_processes
        self.set_epoch(0)

    @property
    def num_items(self) -> int:
        """How many items an epoch goes through."""
        return len(self._lengths)

    def plan_epoch(self, epoch: int) -> list[list[int]]:
        """The batches of an epoch, of all processes."""
        return plan_epoch_batches(
            self._lengths,
            max_batch_tokens=self._max_tokens,
            seed=self._seed,
            epoch=epoch,
            num_processes=self._num_processes,
        )

    def set_epoch(self, epoch: int, *, skip_batches: int = 0) -> None:
        """Choose what the next iteration yields.

        Args:
            epoch: From 0.
            skip_batches: Steps already done, each one batch per process.
        """
        self._batches = self.plan_epoch(epoch)[skip_batches * self._num_processes :]

    def count_steps(self, epochs: int) -> int:
        """Optimizer steps that each process makes in the first epochs."""
        return sum(len(self.plan_epoch(epoch)) for epoch in range(epochs)) // self._num_processes

    def fingerprint(self, epochs: int) -> str:
        """Names the plan of the first epochs: equal ones make equal trainings.

        Args:
            epochs: How many.

        Returns:
            SHA-256 in hexadecimal.
        """
        plans = [self.plan_epoch(epoch) for epoch in range(epochs)]
        return sha256(repr((self._num_processes, plans)).encode()).hexdigest()

    def __iter__(self) -> Iterator[list[int]]:
        """The batches chosen by `turn_to`."""
        return iter(self._batches)

    def __len__(self) -> int:
        """How many batches the next iteration yields."""
        return len(self._batches)
