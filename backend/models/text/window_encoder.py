"""Encode texts as the windows that an encoder reads.

The first sub-word of each word carries the tag of the word. Training and serving both encode here,
so that the model sees the same input in both.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from tagalong.backend.models.text.subwords import (
    SubWords,
    SubWordTokenizer,
    WordOffsets,
    max_subwords_per_word,
)
from tagalong.backend.models.text.windows import Window, plan_windows


@dataclass(frozen=True, slots=True)
class WindowConfig:
    """The size of windows; part of a version, as serving must match training.

    Attributes:
        window: Sub-words of a window, special tokens included.
        context: Sub-words of context on either side of the owned words.
    """

    window: int = 320
    context: int = 48


@dataclass(frozen=True, slots=True)
class EncodedWindow:
    """One window as the model takes it.

    Attributes:
        document_index: Index of its document in the batch.
        input_ids: Sub-words with the special tokens around them.
        words: Indices of the words in it.
        owned_words: Indices of the words whose tags it decides.
        word_positions: Position in `input_ids` of the first sub-word of each word.
    """

    document_index: int
    input_ids: tuple[int, ...]
    words: range
    owned_words: range
    word_positions: tuple[int, ...]

    @property
    def owned_positions(self) -> list[int]:
        """Position in `input_ids` of the first sub-word of each owned word."""
        first = self.words.start
        owned = slice(self.owned_words.start - first, self.owned_words.stop - first)
        return list(self.word_positions[owned])


class WindowEncoder:
    """Encodes documents as windows.

    Args:
        tokenizer: The tokenizer of the base model.
        window_config: The size of windows.
        max_positions: Positions that the model has; None for no limit.

    Attributes:
        max_window_subwords: Sub-words of a window, special tokens included.
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
        # Even a short window owns at least as much as it has context on both sides.
        self._context = min(window_config.context, self._capacity // 4)
        self._max_subwords_per_word = max_subwords_per_word(self._capacity - self._context)

    def encode(self, texts: Sequence[str], words: Sequence[WordOffsets]) -> list[EncodedWindow]:
        """Encode documents, given the offsets of their words.

        The windows come in order of the documents; exactly one owns each word.
        """
        windows = []
        documents = self._subword_tokenizer.split(
            texts, words, max_subwords_per_word=self._max_subwords_per_word
        )
        for index, subwords in enumerate(documents):
            plan = plan_windows(
                subwords.subwords_per_word, capacity=self._capacity, context=self._context
            )
            windows += [self._build_window(index, window, subwords) for window in plan]
        return windows

    def _build_window(self, document: int, window: Window, subwords: SubWords) -> EncodedWindow:
        """Put the sub-words of a window between the special tokens."""
        prefix, suffix = self._subword_tokenizer.prefix, self._subword_tokenizer.suffix
        starts = subwords.word_starts
        offset = len(prefix) - starts[window.start]
        words = range(window.start, window.end)
        return EncodedWindow(
            document_index=document,
            input_ids=(*prefix, *subwords.ids[starts[window.start] : starts[window.end]], *suffix),
            words=words,
            owned_words=range(window.owned_start, window.owned_end),
            word_positions=tuple(starts[word] + offset for word in words),
        )

    def pad(
        self, windows: Sequence[EncodedWindow], *, pad_to_multiple_of: int = 1
    ) -> dict[str, NDArray[np.int64]]:
        """Stack the windows of one batch to `input_ids` and `attention_mask`, (windows, longest).

        The length of rows is rounded up, but never beyond `max_window_subwords`.
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
    """Group items of similar length, so that batches have little padding.

    Yields indices into `lengths`, longest items first. A padded batch has at most `max_tokens`,
    unless a single item is longer.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > max_tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
