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

from backend.llm.verbalisers import Verbalisers, without
from backend.subwords import SubWordTokenizer
from backend.windows import Window, plan_windows
from ner.tags import OUTSIDE, TagSet

FORMAT = 1  # of the layout; another one makes other versions
LONGEST_WORD = 32  # sub-words read of one word; longer words are sequences and base64 blobs
TASK = "Tag every word of the text.\n"
TEXT, ANSWER = "\nText:", "\nTags:"


@dataclass(frozen=True, slots=True)
class Layout:
    """One window of a text, laid out.

    Attributes:
        document: Index of its text in the batch given.
        ids: What follows the prefix; every slot holds the verbaliser of O.
        slots: Where in `ids` the slot of each word read stands; what fills it is predicted at the
            position before.
        words: The words read.
        owned: Those of them whose tags this window decides.
    """

    document: int
    ids: tuple[int, ...]
    slots: tuple[int, ...]
    words: range
    owned: range

    def filled(self, tags: Sequence[int], verbalisers: Verbalisers) -> list[int]:
        """The ids with tags in the slots.

        Args:
            tags: One per word read.
            verbalisers: What stands for them.

        Returns:
            As many ids as before.
        """
        ids = list(self.ids)
        for slot, tag in zip(self.slots, tags, strict=True):
            ids[slot] = verbalisers.ids[tag]
        return ids


class LayoutPlanner:
    """Lays texts out.

    Args:
        tokenizer: Of the base.
        tag_set: The tags.
        verbalisers: What stands for them.
        window: Tokens of a window at most, the prefix included.
        context: Tokens of neighbouring words on either side of what a window owns.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        tag_set: TagSet,
        verbalisers: Verbalisers,
        *,
        window: int = 2048,
        context: int = 256,
    ) -> None:
        self.verbalisers = verbalisers
        self._tokenizer = tokenizer
        self._subwords = SubWordTokenizer(tokenizer)
        self.prefix = tuple(self._subwords.prefix) + tuple(self._instruction(tag_set))
        self._answer = self._piece(ANSWER)
        self._capacity = window - len(self.prefix) - len(self._answer)
        self._context = min(context, self._capacity // 4)
        self._longest = min(LONGEST_WORD, (self._capacity - self._context) // 2 - 1)
        unknown = tokenizer.unk_token_id
        self._instead = self._piece("?")[-1] if unknown is None else int(unknown)

    def plan(
        self, texts: Sequence[str], words: Sequence[Sequence[tuple[int, int]]]
    ) -> list[Layout]:
        """Lay texts out.

        Args:
            texts: The texts.
            words: Offsets of each text's words.

        Returns:
            Windows in order of the texts; each word is owned by exactly one. A text without words
            has none.
        """
        layouts = []
        for index, subwords in enumerate(self._subwords.split(texts, words, longest=self._longest)):
            starts = subwords.starts
            pieces = [
                without(subwords.ids[start:end], self.verbalisers, self._instead)
                for start, end in pairwise(starts)
            ]
            cost = [2 * len(piece) + 1 for piece in pieces]  # read twice, and its slot
            windows = plan_windows(cost, capacity=self._capacity, context=self._context)
            layouts += [self._lay_out(index, window, pieces) for window in windows]
        return layouts

    def _lay_out(self, document: int, window: Window, pieces: Sequence[list[int]]) -> Layout:
        """Put the words of a window one after the other, twice."""
        ids = [number for piece in pieces[window.first : window.last] for number in piece]
        ids += self._answer
        slots = []
        for piece in pieces[window.first : window.last]:
            ids += piece
            slots.append(len(ids))
            ids.append(self.verbalisers.ids[OUTSIDE])
        return Layout(
            document=document,
            ids=tuple(ids),
            slots=tuple(slots),
            words=range(window.first, window.last),
            owned=range(window.own_first, window.own_last),
        )

    def _instruction(self, tag_set: TagSet) -> list[int]:
        """What every text of a label set begins with: the tags, and what they mean."""
        ids = self._piece(TASK)
        for name, verbaliser in zip(tag_set.names, self.verbalisers.ids, strict=True):
            ids += [verbaliser, *self._piece(f" {name}\n")]
        return ids + self._piece(TEXT)

    def _piece(self, text: str) -> list[int]:
        """The ids of a piece of the prompt."""
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])
