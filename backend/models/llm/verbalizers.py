"""One vocabulary entry for every tag, such that no word of a text is ever tokenized to it.

A tag that is one token costs one slot, however long its type's name is; and an entry that the base
already has needs no new embedding, so that any serving engine can load the adapter.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from tagalong.ner.errors import BaseModelError, VersionInvalid
from tagalong.ner.tags import TagSet
from tagalong.ner.words import word_offsets

SPACE_MARKERS = ("▁", "Ġ", "##")  # how vocabularies write a blank before, or none
MAX_VERBALIZER_CHARACTERS = (
    12  # characters: what is longer is rare, and rare entries are hardly trained
)


@dataclass(frozen=True, slots=True)
class Verbalizers:
    """The vocabulary entries that stand for tags.

    Attributes:
        tokens: As the vocabulary spells them, by tag id.
        ids: Their vocabulary ids.
    """

    tokens: tuple[str, ...]
    ids: tuple[int, ...]

    def to_json(self, tag_set: TagSet) -> dict[str, str]:
        """The table as a manifest keeps it.

        Args:
            tag_set: Names the tags.

        Returns:
            The token of each tag name.
        """
        return dict(zip(tag_set.tag_names, self.tokens, strict=True))


def choose_verbalizers(tokenizer: PreTrainedTokenizerBase, tag_set: TagSet) -> Verbalizers:
    """Choose an entry of the base's own vocabulary for every tag.

    A word is letters and digits, or a single mark. An entry that mixes the two, such as ``(s`` or
    ``=>``, can therefore never come of tokenizing one word: those are the ones to choose from,
    shortest and most frequent first. O and each label's B- and I- get the same entry for the same
    tokenizer, always.

    Args:
        tokenizer: Of the base.
        tag_set: The tags.

    Returns:
        The entries.

    Raises:
        BaseModelError: If the vocabulary has too few of them.
    """
    special = set(tokenizer.all_special_ids)
    found = sorted(
        (len(surface), number, token)
        for token, number in tokenizer.get_vocab().items()
        if number not in special
        and (surface := _strip_space_marker(token))
        and _has_several_words(surface)
    )
    chosen = found[: len(tag_set)]
    if len(chosen) < len(tag_set):
        raise BaseModelError(
            f"the base's vocabulary has {len(found)} entries that no word can be tokenized to, and "
            f"{len(tag_set)} tags need one each: choose a base with a larger vocabulary"
        )
    return Verbalizers(
        tokens=tuple(token for _, _, token in chosen), ids=tuple(number for _, number, _ in chosen)
    )


def read_verbalizers(
    table: Mapping[str, str], tokenizer: PreTrainedTokenizerBase, tag_set: TagSet
) -> Verbalizers:
    """Take the entries that a version was trained with.

    Args:
        table: The token of each tag name, from its manifest.
        tokenizer: Of the version.
        tag_set: Its tags.

    Returns:
        The entries.

    Raises:
        VersionInvalid: If a tag has none, two tags share one, or the tokenizer does not know it.
    """
    vocabulary = tokenizer.get_vocab()
    if set(table) != set(tag_set.tag_names):
        raise VersionInvalid(
            f"the version tags {', '.join(table)}, but its labels need {', '.join(tag_set.tag_names)}: "
            "its manifest was changed, so retrain or roll back"
        )
    tokens = tuple(table[name] for name in tag_set.tag_names)
    unknown = [token for token in tokens if token not in vocabulary]
    if unknown or len(set(tokens)) < len(tokens):
        wrong = f"does not know {unknown[0]!r}" if unknown else "is given one token for two tags"
        raise VersionInvalid(
            f"the version's tokenizer {wrong}: it is not the one it was trained with, so retrain "
            "or roll back"
        )
    return Verbalizers(tokens, tuple(vocabulary[token] for token in tokens))


def _strip_space_marker(token: str) -> str:
    """A vocabulary entry without what stands for a blank."""
    for marker in SPACE_MARKERS:
        token = token.removeprefix(marker)
    return token


def _has_several_words(surface: str) -> bool:
    """Whether an entry holds more than one word by our rule, all of it plain ASCII."""
    if not (
        surface.isascii() and surface.isprintable() and len(surface) <= MAX_VERBALIZER_CHARACTERS
    ):
        return False
    if " " in surface or unicodedata.normalize("NFKC", surface) != surface:
        return False
    return len(word_offsets(surface)) > 1


def remove_verbalizers(ids: Sequence[int], verbalisers: Verbalizers, replacement: int) -> list[int]:
    """Words whose normalization does yield an entry (an ellipsis written as three dots) lose it.

    Args:
        ids: Of a word.
        verbalisers: What must not be among them.
        replacement: What takes its place.

    Returns:
        The ids of the word, none of them a verbaliser.
    """
    taken = set(verbalisers.ids)
    return [replacement if number in taken else number for number in ids]
