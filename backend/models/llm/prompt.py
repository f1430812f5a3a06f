"""Build the prompt: instruction, the words, then the words again with a tag slot behind each.

Through the second copy, each slot of a causal model sees the whole text (the effect that "Just Pass
Twice", arXiv 2604.05158, names). Words are given, never generated, and a slot takes one token, so
the length of the answer is known beforehand. Training and serving build prompts here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import chain, pairwise

from transformers import PreTrainedTokenizerBase

from tagalong.backend.models.text.subwords import (
    SubWordTokenizer,
    WordOffsets,
    max_subwords_per_word,
)
from tagalong.backend.models.text.windows import Window, plan_windows
from tagalong.ner.errors import BaseModelError, VersionInvalid
from tagalong.ner.tags import OUTSIDE, TagSet
from tagalong.ner.words import word_offsets

PROMPT_VERSION = 1  # kept in manifests: a change of the prompt needs another number
INSTRUCTION = "Tag every word of the text.\n"
TEXT_HEADER, TAGS_HEADER = "\nText:", "\nTags:"
SPACE_MARKERS = ("▁", "Ġ", "##")  # how vocabularies write a blank before a token, or none
MAX_VERBALIZER_CHARACTERS = 12  # longer tokens are rare, and rare tokens are hardly trained


@dataclass(frozen=True, slots=True)
class Verbalizers:
    """One vocabulary token for every tag, in their order; the words of a prompt never have it.

    A tag then takes one slot, however long the name of its entity type is. A token that the base
    model has already needs no new embedding, so any serving engine can load the adapter.
    """

    tokens: tuple[str, ...]  # as the vocabulary spells them
    ids: tuple[int, ...]

    def to_json(self, tag_set: TagSet) -> dict[str, str]:
        """The token of each tag name, as a manifest keeps it."""
        return dict(zip(tag_set.tag_names, self.tokens, strict=True))


def choose_verbalizers(tokenizer: PreTrainedTokenizerBase, tag_set: TagSet) -> Verbalizers:
    """Choose a token of the base model's own vocabulary for every tag.

    A word is a run of letters and digits, or one mark. So tokens that span several words, such as
    ``(s`` or ``=>``, hardly ever come from a single word. Of those, the shortest and most frequent
    are chosen, always the same for the same tokenizer. Raises `BaseModelError` if there are too
    few.
    """
    special = set(tokenizer.all_special_ids)
    # By length and id: a low id means a frequent token.
    candidates = sorted(
        (len(surface), number, token)
        for token, number in tokenizer.get_vocab().items()
        if number not in special
        and (surface := reduce(str.removeprefix, SPACE_MARKERS, token))
        and _has_several_words(surface)
    )
    chosen = candidates[: len(tag_set)]
    if len(chosen) < len(tag_set):
        raise BaseModelError(
            f"the base model's vocabulary has {len(candidates)} tokens that no word is tokenized "
            f"to, and {len(tag_set)} tags need one each: choose a base model with a larger "
            "vocabulary",
            code="base-model-vocabulary-too-small",
        )
    _, ids, tokens = zip(*chosen, strict=True)
    return Verbalizers(tokens, ids)


def read_verbalizers(
    table: Mapping[str, str], tokenizer: PreTrainedTokenizerBase, tag_set: TagSet
) -> Verbalizers:
    """Read the tokens that a version was trained with, from the table in its manifest.

    Raises `VersionInvalid` where a tag has no token, two share one, or the tokenizer lacks one.
    """
    vocabulary = tokenizer.get_vocab()
    if set(table) != set(tag_set.tag_names):
        raise VersionInvalid(
            f"the manifest has tokens for the tags {', '.join(table)}, but labels for "
            f"{', '.join(tag_set.tag_names)}: it was changed, so retrain or roll back",
            code="version-tags-mismatch",
        )
    tokens = tuple(table[name] for name in tag_set.tag_names)
    unknown = [token for token in tokens if token not in vocabulary]
    if unknown or len(set(tokens)) < len(tokens):
        fault = f"does not know {unknown[0]!r}" if unknown else "has one token for two tags"
        raise VersionInvalid(
            f"the version's tokenizer {fault}: it is not the tokenizer of the training, so retrain "
            "or roll back",
            code="version-tokenizer-mismatch",
        )
    return Verbalizers(tokens, tuple(vocabulary[token] for token in tokens))


def _has_several_words(surface: str) -> bool:
    """Whether a token holds more than one word by our rule, in plain ASCII."""
    return (
        len(surface) <= MAX_VERBALIZER_CHARACTERS
        and surface.isascii()
        and surface.isprintable()
        and " " not in surface
        and len(word_offsets(surface)) > 1
    )


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
