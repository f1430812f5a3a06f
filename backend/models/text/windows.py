"""Split a text into overlapping windows, so that a long document is never cut.

Each word is owned by exactly one window, which decides its tag: the first sub-word of the word
carries it. Around the owned words a window holds context, so that no word is tagged at the edge of
what the model sees. Training and serving both encode here, so the model sees the same input.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from tagalong.backend.models.text.subwords import (
    SubWords,
    SubWordTokenizer,
    WordOffsets,
    max_subwords_per_word,
)
from tagalong.ner.document import Document


@dataclass(frozen=True, slots=True)
class Window:
    """A run of words that the model reads at once."""

    words: range  # all that it reads, by their index in the text
    owned_words: range  # those whose tags this window decides

    @property
    def owned_slice(self) -> slice:
        """The owned words among all words of the window."""
        first = self.words.start
        return slice(self.owned_words.start - first, self.owned_words.stop - first)


WindowT = TypeVar("WindowT", bound=Window)


@dataclass(frozen=True, slots=True)
class EncodedDocument(Generic[WindowT]):
    """A document, or a part of it, as a model reads it."""

    document: Document
    words: WordOffsets  # of the whole document
    windows: Sequence[WindowT]  # in order; those of a whole document own each word once

    @property
    def owned_words(self) -> range:
        """The words whose tags these windows decide."""
        if not self.windows:
            return range(0)
        return range(self.windows[0].owned_words.start, self.windows[-1].owned_words.stop)

    @property
    def owned_characters(self) -> int:
        """Length of the text from the first owned word to the last."""
        owned = self.owned_words
        return self.words[owned[-1]][1] - self.words[owned[0]][0] if owned else 0

    def split(self, *, windows_per_part: int) -> list[Self]:
        """Split into parts of a few windows; a document without words is one part."""
        return [
            replace(self, windows=self.windows[start : start + windows_per_part])
            for start in range(0, max(1, len(self.windows)), windows_per_part)
        ]


def plan_windows(lengths: Sequence[int], *, capacity: int, context: int) -> list[Window]:
    """Plan the windows of one document, given the sub-words of each word, in order.

    The owned words partition the document, with `context` sub-words on either side of them. A
    window exceeds `capacity` only where a single word does. Raises ValueError if the context leaves
    no room for an owned word.
    """
    if capacity - 2 * context < 1:
        raise ValueError(f"{context} sub-words of context on both sides do not fit in {capacity}")
    before = [0, *accumulate(lengths)]  # sub-words before each word
    count = len(lengths)
    windows = []
    owned_start = 0
    while owned_start < count:
        start = bisect_left(before, before[owned_start] - context)
        limit = before[start] + capacity
        end = max(owned_start + 1, bisect_right(before, limit) - 1)
        # Where the rest of the text fits, it needs no context after it.
        with_context = end if end == count else bisect_right(before, limit - context) - 1
        owned_end = max(owned_start + 1, with_context)
        windows.append(Window(range(start, end), range(owned_start, owned_end)))
        owned_start = owned_end
    return windows


@dataclass(frozen=True, slots=True)
class WindowConfig:
    """The size of windows; part of a version, as serving must match training."""

    window: int = 320  # sub-words, special tokens included
    context: int = 48  # sub-words on either side of the owned words


@dataclass(frozen=True, slots=True)
class EncodedWindow(Window):
    """One window as the model takes it."""

    document_index: int  # in the batch of documents
    input_ids: tuple[int, ...]  # sub-words, with the special tokens around them
    word_positions: tuple[int, ...]  # in `input_ids`: the first sub-word of each word

    @property
    def owned_positions(self) -> list[int]:
        """Position in `input_ids` of the first sub-word of each owned word."""
        return list(self.word_positions[self.owned_slice])


class WindowEncoder:
    """Encodes documents as windows, of up to `max_positions` where the model has a limit."""

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
        """Encode documents, given the offsets of their words; one window owns each word."""
        documents = self._subword_tokenizer.split(
            texts, words, max_subwords_per_word=self._max_subwords_per_word
        )
        return [
            self._build_window(index, window, subwords)
            for index, subwords in enumerate(documents)
            for window in plan_windows(
                subwords.subwords_per_word, capacity=self._capacity, context=self._context
            )
        ]

    def _build_window(self, document: int, window: Window, subwords: SubWords) -> EncodedWindow:
        """Put the sub-words of a window between the special tokens."""
        prefix, suffix = self._subword_tokenizer.prefix, self._subword_tokenizer.suffix
        words, starts = window.words, subwords.word_starts
        ids = subwords.ids[starts[words.start] : starts[words.stop]]
        offset = len(prefix) - starts[words.start]
        return EncodedWindow(
            words,
            window.owned_words,
            document_index=document,
            input_ids=(*prefix, *ids, *suffix),
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
