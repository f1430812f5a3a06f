"""Text to sub-words, word by word: every word gets at least one sub-word of its own.

The text is tokenized as a whole, so that the model reads the pieces it was trained on, and the
pieces are handed to words by their offsets. Two corrections make that hold for every tokenizer:
a piece that spans several words (``)-`` in SentencePiece and byte-level vocabularies) is replaced
by the pieces of each word, and a word that the tokenizer drops (a control character, a lone
accent) becomes the unknown token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class SubWords:
    """The sub-words of one document.

    Attributes:
        ids: Vocabulary ids of every word, in order.
        word_starts: Where each word's sub-words start in `ids`, and last their total: words + 1 numbers.
    """

    ids: tuple[int, ...]
    word_starts: tuple[int, ...]

    @property
    def subwords_per_word(self) -> list[int]:
        """Sub-words of each word."""
        return [end - start for start, end in pairwise(self.word_starts)]


class SubWordTokenizer:
    """Splits the words of documents into sub-words.

    Args:
        tokenizer: A fast Hugging Face tokenizer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        # What the tokenizer puts around a text: [CLS] and [SEP], <s> and nothing, ...
        bare = tokenizer("a", add_special_tokens=False)["input_ids"]
        whole = tokenizer("a")["input_ids"]
        at = next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
        self.prefix: list[int] = whole[:at]
        self.suffix: list[int] = whole[at + len(bare) :]
        self._unknown_id = tokenizer.unk_token_id
        if self._unknown_id is None:  # byte-level vocabularies have no unknown token
            self._unknown_id = tokenizer("?", add_special_tokens=False)["input_ids"][-1]

    def split(
        self,
        texts: Sequence[str],
        words: Sequence[Sequence[tuple[int, int]]],
        *,
        max_subwords_per_word: int,
    ) -> list[SubWords]:
        """Split documents.

        Args:
            texts: The texts.
            words: Offsets of each text's words.
            max_subwords_per_word: Sub-words kept of one word; its tail beyond them is not read.

        Returns:
            One entry per text.
        """
        if not texts:
            return []
        encoded = self.tokenizer(
            list(texts), add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        return [
            self._assign_to_words(text, offsets, ids, pieces, max_subwords_per_word)
            for text, offsets, ids, pieces in zip(
                texts, words, encoded["input_ids"], encoded["offset_mapping"], strict=True
            )
        ]

    def _assign_to_words(
        self,
        text: str,
        words: Sequence[tuple[int, int]],
        ids: Sequence[int],
        pieces: Sequence[tuple[int, int]],
        longest: int,
    ) -> SubWords:
        """Give each piece to the word it lies in."""
        counts = _count_subwords(words, pieces)
        if counts is not None and counts.max(initial=0) <= longest:
            return SubWords(tuple(ids), (0, *counts.cumsum().tolist()))
        owned: list[list[int]] = [[] for _ in words]
        word = 0
        for piece, (start, end) in zip(ids, pieces, strict=True):
            while word < len(words) and words[word][1] <= start:
                word += 1
            if word == len(words):
                break
            touched = word + 1
            while touched < len(words) and words[touched][0] < end:
                touched += 1
            if touched - word > 1:
                for shared in range(word, touched):
                    owned[shared] = owned[shared] or self._tokenize_word(
                        text[slice(*words[shared])]
                    )
            elif words[word][0] < end:
                owned[word].append(piece)
            elif word:  # white space, which some vocabularies have pieces for: a tail, never a head
                owned[word - 1].append(piece)
        flat: list[int] = []
        starts = [0]
        for own in owned:
            flat += own[:longest] or [self._unknown_id]
            starts.append(len(flat))
        return SubWords(tuple(flat), tuple(starts))

    def _tokenize_word(self, word: str) -> list[int]:
        """The pieces of a word that follows another without a blank."""
        piece = self.tokenizer.convert_tokens_to_ids(word)
        if isinstance(piece, int) and piece != self._unknown_id:
            return [piece]
        return list(self.tokenizer(word, add_special_tokens=False)["input_ids"])


def _count_subwords(
    words: Sequence[tuple[int, int]], pieces: Sequence[tuple[int, int]]
) -> NDArray[np.intp] | None:
    """How many pieces each word has, where all have some and none is shared; None elsewhere.

    That is nearly every text, and counting takes a fifth of the time of handing out one by one.
    """
    if not words or len(pieces) < len(words):
        return None
    starts, ends = np.array(words).T
    firsts, lasts = np.array(pieces).T
    owners = np.searchsorted(ends, firsts, side="right")
    if owners[-1] == len(words) or (firsts < starts[owners]).any() or (lasts > ends[owners]).any():
        return None
    counts = np.bincount(owners, minlength=len(words))
    return counts if counts.all() else None
