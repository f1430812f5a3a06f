"""Build the prompt: instruction, the words, then the words again with a tag slot behind each.

Through the second copy, each slot of a causal model sees the whole text (the effect that "Just Pass
Twice", arXiv 2604.05158, names). Words are given, never generated, and a slot takes one token, so
the length of the answer is known beforehand. Training and serving build prompts here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

from transformers import PreTrainedTokenizerBase

from tagalong.backend.models.llm.verbalizers import Verbalizers
from tagalong.backend.models.text.subwords import (
    SubWordTokenizer,
    WordOffsets,
    max_subwords_per_word,
)
from tagalong.backend.models.text.windows import Window, plan_windows
from tagalong.ner.tags import OUTSIDE, TagSet

PROMPT_VERSION = 1  # kept in manifests: a change of the prompt needs another number
INSTRUCTION = "Tag every word of the text.\n"
TEXT_HEADER, TAGS_HEADER = "\nText:", "\nTags:"


@dataclass(frozen=True, slots=True)
class PromptWindow(Window):
    """The prompt of one window of a text."""

    document_index: int  # in the batch of texts
    input_ids: tuple[int, ...]  # what follows the prefix; every slot holds the verbalizer of O
    # In `input_ids`: the slot of each word. The model predicts its content at the position before.
    slot_positions: tuple[int, ...]

    def fill_slots(self, tags: Sequence[int], verbalizers: Verbalizers) -> list[int]:
        """`input_ids` with a tag in the slot of each word."""
        ids = list(self.input_ids)
        for slot, tag in zip(self.slot_positions, tags, strict=True):
            ids[slot] = verbalizers.ids[tag]
        return ids


class PromptBuilder:
    """Builds the prompts of texts, in windows of so many tokens, the shared prefix included."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        tag_set: TagSet,
        verbalizers: Verbalizers,
        *,
        window: int = 2048,
        context: int = 256,
    ) -> None:
        self.verbalizers = verbalizers
        self._tokenizer = tokenizer
        self._subword_tokenizer = SubWordTokenizer(tokenizer)
        self.prefix = tuple(self._subword_tokenizer.prefix) + tuple(self._instruction(tag_set))
        self._tags_header_ids = self._tokenize(TAGS_HEADER)
        self._capacity = window - len(self.prefix) - len(self._tags_header_ids)
        # As for an encoder: even a short window owns as much as it has context on both sides.
        self._context = min(context, self._capacity // 4)
        self._max_subwords_per_word = max_subwords_per_word(
            self._capacity - self._context, copies=2, slots=1
        )

    def build(self, texts: Sequence[str], words: Sequence[WordOffsets]) -> list[PromptWindow]:
        """Build the prompts of texts, given the offsets of their words, in order."""
        prompts = []
        documents = self._subword_tokenizer.split(
            texts, words, max_subwords_per_word=self._max_subwords_per_word
        )
        for index, document in enumerate(documents):
            subwords = [
                self._remove_verbalizers(document.ids[start:end])
                for start, end in pairwise(document.word_starts)
            ]
            lengths = [2 * len(of_word) + 1 for of_word in subwords]  # the word twice, and its slot
            windows = plan_windows(lengths, capacity=self._capacity, context=self._context)
            prompts += [self._build_window(index, window, subwords) for window in windows]
        return prompts

    def _build_window(
        self, document: int, window: Window, subwords: Sequence[list[int]]
    ) -> PromptWindow:
        """Put the words of a window one after the other, twice."""
        words = subwords[window.words.start : window.words.stop]
        ids = [*chain.from_iterable(words), *self._tags_header_ids]
        slots = []
        for of_word in words:
            ids += of_word
            slots.append(len(ids))
            ids.append(self.verbalizers.ids[OUTSIDE])
        return PromptWindow(window.words, window.owned_words, document, tuple(ids), tuple(slots))

    def _remove_verbalizers(self, ids: Sequence[int]) -> list[int]:
        # A word has one, for instance, where normalization writes an ellipsis as three dots.
        forbidden = self.verbalizers.ids
        return [self._subword_tokenizer.unknown_id if one in forbidden else one for one in ids]

    def _instruction(self, tag_set: TagSet) -> list[int]:
        """The tokens that explain the tags."""
        ids = self._tokenize(INSTRUCTION)
        for name, verbalizer in zip(tag_set.tag_names, self.verbalizers.ids, strict=True):
            ids += [verbalizer, *self._tokenize(f" {name}\n")]
        return ids + self._tokenize(TEXT_HEADER)

    def _tokenize(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])
