"""Texts to the windows that an encoder reads.

Sub-words are planned into windows, and the first sub-word of each word speaks for the word.
Training reads its windows from here too, so that what is learnt is what is served.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from tagalong.backend.models.text.subwords import SubWords, SubWordTokenizer
from tagalong.backend.models.text.windows import Window, plan_windows

ENCODER_MAX_SUBWORDS_PER_WORD = (
    64  # sub-words read of one word; longer words are sequences and base64 blobs
)


@dataclass(frozen=True, slots=True)
class WindowConfig:
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
        document_index: Index of its document in the batch given.
        input_ids: Sub-words with the special tokens around them.
        words: The words it reads.
        owned_words: Those of them whose tags it decides; the others are context.
        word_positions: Where in `ids` the first sub-word of each word it reads stands.
    """

    document_index: int
    input_ids: tuple[int, ...]
    words: range
    owned_words: range
    word_positions: tuple[int, ...]

    @property
    def owned_positions(self) -> list[int]:
        """Where in `ids` the first sub-word of each word it owns stands."""
        first = self.words.start
        return list(
            self.word_positions[self.owned_words.start - first : self.owned_words.stop - first]
        )


class WindowEncoder:
    """Turns documents into windows.

    Args:
        tokenizer: Of the base.
        window_config: How long windows are.
        max_positions: Positions the model has, or None for no limit.

    Attributes:
        max_window_subwords: Sub-words that a window has at most.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        window_config: WindowConfig,
        *,
        max_positions: int | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self._subword_tokenizer = SubWordTokenizer(tokenizer)
        special = len(self._subword_tokenizer.prefix) + len(self._subword_tokenizer.suffix)
        self.max_window_subwords = min(window_config.window, max_positions or window_config.window)
        self._capacity = self.max_window_subwords - special
        # A short window keeps room to own at least as much as it borrows on both sides.
        self._context = min(window_config.context, self._capacity // 4)
        self._max_subwords_per_word = min(
            ENCODER_MAX_SUBWORDS_PER_WORD, self._capacity - self._context
        )

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
        split = self._subword_tokenizer.split(
            texts, words, max_subwords_per_word=self._max_subwords_per_word
        )
        for index, subwords in enumerate(split):
            plan = plan_windows(
                subwords.subwords_per_word, capacity=self._capacity, context=self._context
            )
            windows += [self._build_window(index, window, subwords) for window in plan]
        return windows

    def _build_window(self, document: int, window: Window, subwords: SubWords) -> EncodedWindow:
        """Put the sub-words of a window between the special tokens."""
        prefix, suffix = self._subword_tokenizer.prefix, self._subword_tokenizer.suffix
        offset = len(prefix) - subwords.word_starts[window.start]
        ids = subwords.ids[subwords.word_starts[window.start] : subwords.word_starts[window.end]]
        words = range(window.start, window.end)
        return EncodedWindow(
            document_index=document,
            input_ids=(*prefix, *ids, *suffix),
            words=words,
            owned_words=range(window.owned_start, window.owned_end),
            word_positions=tuple(subwords.word_starts[word] + offset for word in words),
        )

    def pad(
        self, windows: Sequence[EncodedWindow], *, pad_to_multiple_of: int = 1
    ) -> dict[str, NDArray[np.int64]]:
        """Stack windows.

        Args:
            windows: One batch.
            pad_to_multiple_of: What the length of the rows is rounded up to a multiple of, as far as the
                longest window there can be.

        Returns:
            `input_ids` and `attention_mask`, each of shape (windows, longest).
        """
        longest = max(len(window.input_ids) for window in windows)
        shape = len(windows), min(longest + -longest % pad_to_multiple_of, self.max_window_subwords)
        ids = np.full(shape, int(self.tokenizer.pad_token_id))
        mask = np.zeros(shape, np.int64)
        for row, window in enumerate(windows):
            ids[row, : len(window.input_ids)] = window.input_ids
            mask[row, : len(window.input_ids)] = 1
        return {"input_ids": ids, "attention_mask": mask}


def batch_by_length(lengths: Sequence[int], *, max_tokens: int) -> Iterator[list[int]]:
    """Group items of similar length, so that little of a padded batch is padding.

    Args:
        lengths: Tokens of each item.
        max_tokens: Tokens a padded batch may have; a longer item gets a batch of its own.

    Yields:
        Indices into `lengths`, longest items first; together a partition of them.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > max_tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
