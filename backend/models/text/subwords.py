"""Split the words of a text into sub-words: every word gets at least one of its own.

The whole text is tokenized at once, as in the pretraining of the model, and each sub-word is
assigned to a word by its offsets. Two corrections make that work with every tokenizer. A sub-word
that spans several words (``)-`` in SentencePiece and byte-level vocabularies) is replaced by the
sub-words of each word. A word that the tokenizer drops (a control character, a lone accent) becomes
the unknown token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

WordOffsets = Sequence[tuple[int, int]]  # the words of one text

MAX_SUBWORDS_PER_WORD = 64  # longer words are sequences and base64 blobs


def max_subwords_per_word(room: int, *, copies: int = 1, slots: int = 0) -> int:
    """Sub-words to read of one word, such that its copies and tag slots fit in a window's room."""
    return min(MAX_SUBWORDS_PER_WORD // copies, room // copies - slots)


@dataclass(frozen=True, slots=True)
class SubWords:
    """The sub-words of one document."""

    ids: tuple[int, ...]  # in the vocabulary, word after word
    word_starts: tuple[int, ...]  # index in `ids` of each word; last, the length of `ids`

    @property
    def subwords_per_word(self) -> list[int]:
        """Sub-words of each word."""
        return [end - start for start, end in pairwise(self.word_starts)]


class SubWordTokenizer:
    """Splits the words of documents into sub-words, with a fast tokenizer, which knows offsets."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        bare = tokenizer("a", add_special_tokens=False)["input_ids"]
        whole = tokenizer("a")["input_ids"]
        at = next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
        self.prefix: list[int] = whole[:at]  # special tokens before a text, such as [CLS]
        self.suffix: list[int] = whole[at + len(bare) :]
        unknown = tokenizer.unk_token_id
        if unknown is None:  # byte-level vocabularies have no unknown token
            unknown = tokenizer("?", add_special_tokens=False)["input_ids"][-1]
        self.unknown_id = int(unknown)

    def split(
        self, texts: Sequence[str], words: Sequence[WordOffsets], *, max_subwords_per_word: int
    ) -> list[SubWords]:
        """Split documents, given the offsets of their words; the rest of long words is not read."""
        if not texts:
            return []
        encoded = self.tokenizer(
            list(texts), add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        return [
            self._assign_to_words(text, offsets, ids, spans, max_subwords_per_word)
            for text, offsets, ids, spans in zip(
                texts, words, encoded["input_ids"], encoded["offset_mapping"], strict=True
            )
        ]

    def _assign_to_words(
        self,
        text: str,
        words: WordOffsets,
        ids: Sequence[int],
        spans: Sequence[tuple[int, int]],
        limit: int,
    ) -> SubWords:
        """Assign each sub-word to the word that contains it."""
        counts = _count_subwords(words, spans)
        if counts is not None and counts.max(initial=0) <= limit:
            return SubWords(tuple(ids), (0, *counts.cumsum().tolist()))
        assigned: list[list[int]] = [[] for _ in words]
        word = 0
        for number, (start, end) in zip(ids, spans, strict=True):
            while word < len(words) and words[word][1] <= start:
                word += 1
            if word == len(words):
                break
            after = word + 1
            while after < len(words) and words[after][0] < end:
                after += 1
            if after - word > 1:  # it spans several words
                for shared in range(word, after):
                    assigned[shared] = assigned[shared] or self._tokenize_word(
                        text[slice(*words[shared])]
                    )
            elif words[word][0] < end:
                assigned[word].append(number)
            elif word:  # white space of its own in some vocabularies: never the first sub-word
                assigned[word - 1].append(number)
        flat: list[int] = []
        starts = [0]
        for of_word in assigned:
            flat += of_word[:limit] or [self.unknown_id]
            starts.append(len(flat))
        return SubWords(tuple(flat), tuple(starts))

    def _tokenize_word(self, word: str) -> list[int]:
        """The sub-words of a word that follows another without a blank."""
        number = self.tokenizer.convert_tokens_to_ids(word)
        if isinstance(number, int) and number != self.unknown_id:
            return [number]
        return list(self.tokenizer(word, add_special_tokens=False)["input_ids"])


def _count_subwords(
    words: WordOffsets, spans: Sequence[tuple[int, int]]
) -> NDArray[np.intp] | None:
    """Sub-words of each word; None where a word has none or shares one.

    Nearly every text gets by with the counts, which take a fifth of the time of the assignment.
    """
    if not words or len(spans) < len(words):
        return None
    starts, ends = np.array(words).T
    firsts, lasts = np.array(spans).T
    owners = np.searchsorted(ends, firsts, side="right")
    if owners[-1] == len(words) or (firsts < starts[owners]).any() or (lasts > ends[owners]).any():
        return None
    counts = np.bincount(owners, minlength=len(words))
    return counts if counts.all() else None
