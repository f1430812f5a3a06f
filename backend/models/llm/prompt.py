"""A text as the LLM reads it: instruction, the words, then the words again with a slot behind each.

The second copy lets every slot see the whole text through a causal model (the effect that "Just
Pass Twice", arXiv 2604.05158, names). Words are given, never generated, and a slot takes one token,
so the answer has the length it has before the model is asked. Training and serving lay texts out by
this one function.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from transformers import PreTrainedTokenizerBase

from tagalong.backend.models.llm.verbalizers import Verbalizers, remove_verbalizers
from tagalong.backend.models.text.subwords import SubWordTokenizer
from tagalong.backend.models.text.windows import Window, plan_windows
from tagalong.ner.tags import OUTSIDE, TagSet

PROMPT_VERSION = 1  # of the layout; another one makes other versions
LLM_MAX_SUBWORDS_PER_WORD = (
    32  # sub-words read of one word; longer words are sequences and base64 blobs
)
INSTRUCTION = "Tag every word of the text.\n"
TEXT_HEADER, TAGS_HEADER = "\nText:", "\nTags:"


@dataclass(frozen=True, slots=True)
class PromptWindow:
    """One window of a text, laid out.

    Attributes:
        document_index: Index of its text in the batch given.
        input_ids: What follows the prefix; every slot holds the verbaliser of O.
        slot_positions: Where in `ids` the slot of each word read stands; what fills it is predicted at the
            position before.
        words: The words read.
        owned_words: Those of them whose tags this window decides.
    """

    document_index: int
    input_ids: tuple[int, ...]
    slot_positions: tuple[int, ...]
    words: range
    owned_words: range

    def fill_slots(self, tags: Sequence[int], verbalizers: Verbalizers) -> list[int]:
        """The ids with tags in the slots.

        Args:
            tags: One per word read.
            verbalizers: What stands for them.

        Returns:
            As many ids as before.
        """
        ids = list(self.input_ids)
        for slot, tag in zip(self.slot_positions, tags, strict=True):
            ids[slot] = verbalizers.ids[tag]
        return ids


class PromptBuilder:
    """Lays texts out.

    Args:
        tokenizer: Of the base.
        tag_set: The tags.
        verbalizers: What stands for them.
        window: Tokens of a window at most, the prefix included.
        context: Tokens of neighbouring words on either side of what a window owns.
    """

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
        self._context = min(context, self._capacity // 4)
        self._max_subwords_per_word = min(
            LLM_MAX_SUBWORDS_PER_WORD, (self._capacity - self._context) // 2 - 1
        )
        unknown = tokenizer.unk_token_id
        self._replacement_id = self._tokenize("?")[-1] if unknown is None else int(unknown)

    def build(
        self, texts: Sequence[str], words: Sequence[Sequence[tuple[int, int]]]
    ) -> list[PromptWindow]:
        """Lay texts out.

        Args:
            texts: The texts.
            words: Offsets of each text's words.

        Returns:
            Windows in order of the texts; each word is owned by exactly one. A text without words
            has none.
        """
        layouts = []
        for index, subwords in enumerate(
            self._subword_tokenizer.split(
                texts, words, max_subwords_per_word=self._max_subwords_per_word
            )
        ):
            starts = subwords.word_starts
            pieces = [
                remove_verbalizers(subwords.ids[start:end], self.verbalizers, self._replacement_id)
                for start, end in pairwise(starts)
            ]
            cost = [2 * len(piece) + 1 for piece in pieces]  # read twice, and its slot
            windows = plan_windows(cost, capacity=self._capacity, context=self._context)
            layouts += [self._build_window(index, window, pieces) for window in windows]
        return layouts

    def _build_window(
        self, document: int, window: Window, pieces: Sequence[list[int]]
    ) -> PromptWindow:
        """Put the words of a window one after the other, twice."""
        ids = [number for piece in pieces[window.start : window.end] for number in piece]
        ids += self._tags_header_ids
        slots = []
        for piece in pieces[window.start : window.end]:
            ids += piece
            slots.append(len(ids))
            ids.append(self.verbalizers.ids[OUTSIDE])
        return PromptWindow(
            document_index=document,
            input_ids=tuple(ids),
            slot_positions=tuple(slots),
            words=range(window.start, window.end),
            owned_words=range(window.owned_start, window.owned_end),
        )

    def _instruction(self, tag_set: TagSet) -> list[int]:
        """What every text of a label set begins with: the tags, and what they mean."""
        ids = self._tokenize(INSTRUCTION)
        for name, verbaliser in zip(tag_set.tag_names, self.verbalizers.ids, strict=True):
            ids += [verbaliser, *self._tokenize(f" {name}\n")]
        return ids + self._tokenize(TEXT_HEADER)

    def _tokenize(self, text: str) -> list[int]:
        """The ids of a piece of the prompt."""
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])
