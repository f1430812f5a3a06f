"""Texts to the windows that an encoder reads.

Sub-words are planned into windows, and the first sub-word of each word speaks for the word.
Training reads its windows from here too, so that what is learnt is what is served.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from backend.subwords import SubWords, SubWordTokenizer
from backend.windows import Window, plan_windows

MAX_PER_WORD = 64  # sub-words read of one word; longer words are sequences and base64 blobs


@dataclass(frozen=True, slots=True)
class Reading:
    """How long the windows are; part of a version, since a model serves as it was trained.

    Attributes:
        window: Sub-words a window holds, special tokens included.
        context: Sub-words of neighbouring words on either side of what a window owns.
    """

    window: int = 320
    context: int = 48


@dataclass(frozen=True, slots=True)
class EncodedWindow:
    """One window as the model takes it.

    Attributes:
        document: Index of its document in the batch given.
        ids: Sub-words with the special tokens around them.
        words: The words it reads.
        owned: Those of them whose tags it decides; the others are context.
        positions: Where in `ids` the first sub-word of each word it reads stands.
    """

    document: int
    ids: tuple[int, ...]
    words: range
    owned: range
    positions: tuple[int, ...]

    @property
    def owned_positions(self) -> list[int]:
        """Where in `ids` the first sub-word of each word it owns stands."""
        first = self.words.start
        return list(self.positions[self.owned.start - first : self.owned.stop - first])


class WindowEncoder:
    """Turns documents into windows.

    Args:
        tokenizer: Of the base.
        reading: How long windows are.
        limit: Positions the model has, or None for no limit.

    Attributes:
        longest: Sub-words that a window has at most.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, reading: Reading, *, limit: int | None = None
    ) -> None:
        self.tokenizer = tokenizer
        self._subwords = SubWordTokenizer(tokenizer)
        special = len(self._subwords.prefix) + len(self._subwords.suffix)
        self.longest = min(reading.window, limit or reading.window)
        self._capacity = self.longest - special
        # A short window keeps room to own at least as much as it borrows on both sides.
        self._context = min(reading.context, self._capacity // 4)
        self._longest_word = min(MAX_PER_WORD, self._capacity - self._context)

    def encode(
        self, texts: Sequence[str], words: Sequence[Sequence[tuple[int, int]]]
    ) -> list[EncodedWindow]:
        """Plan and fill the windows of documents.

        Args:
            texts: The texts.
            words: Offsets of each text's words.

        Returns:
            Windows in order of the documents; each word is owned by exactly one.
        """
        windows = []
        split = self._subwords.split(texts, words, longest=self._longest_word)
        for index, subwords in enumerate(split):
            plan = plan_windows(subwords.lengths, capacity=self._capacity, context=self._context)
            windows += [self._fill(index, window, subwords) for window in plan]
        return windows

    def _fill(self, document: int, window: Window, subwords: SubWords) -> EncodedWindow:
        """Put the sub-words of a window between the special tokens."""
        prefix, suffix = self._subwords.prefix, self._subwords.suffix
        offset = len(prefix) - subwords.starts[window.first]
        ids = subwords.ids[subwords.starts[window.first] : subwords.starts[window.last]]
        words = range(window.first, window.last)
        return EncodedWindow(
            document=document,
            ids=(*prefix, *ids, *suffix),
            words=words,
            owned=range(window.own_first, window.own_last),
            positions=tuple(subwords.starts[word] + offset for word in words),
        )

    def pad(
        self, windows: Sequence[EncodedWindow], *, multiple: int = 1
    ) -> dict[str, NDArray[np.int64]]:
        """Stack windows.

        Args:
            windows: One batch.
            multiple: What the length of the rows is rounded up to a multiple of, as far as the
                longest window there can be.

        Returns:
            `input_ids` and `attention_mask`, each of shape (windows, longest).
        """
        longest = max(len(window.ids) for window in windows)
        shape = len(windows), min(longest + -longest % multiple, self.longest)
        ids = np.full(shape, int(self.tokenizer.pad_token_id))
        mask = np.zeros(shape, np.int64)
        for row, window in enumerate(windows):
            ids[row, : len(window.ids)] = window.ids
            mask[row, : len(window.ids)] = 1
        return {"input_ids": ids, "attention_mask": mask}


def batch_by_length(lengths: Sequence[int], *, budget: int) -> Iterator[list[int]]:
    """Group items of similar length, so that little of a padded batch is padding.

    Args:
        lengths: Tokens of each item.
        budget: Tokens a padded batch may have; a longer item gets a batch of its own.

    Yields:
        Indices into `lengths`, longest items first; together a partition of them.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > budget:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
