"""Choose one vocabulary token for every tag, such that no word is ever tokenized to it.

A tag then takes one slot, however long the name of its entity type is. A token that the base model
has already needs no new embedding, so any serving engine can load the adapter.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

from transformers import PreTrainedTokenizerBase

from tagalong.ner.errors import BaseModelError, VersionInvalid
from tagalong.ner.tags import TagSet
from tagalong.ner.words import word_offsets

SPACE_MARKERS = ("▁", "Ġ", "##")  # how vocabularies write a blank before a token, or none
MAX_VERBALIZER_CHARACTERS = 12  # longer tokens are rare, and rare tokens are hardly trained


@dataclass(frozen=True, slots=True)
class Verbalizers:
    """The vocabulary tokens of the tags, in the order of the tags."""

    tokens: tuple[str, ...]  # as the vocabulary spells them
    ids: tuple[int, ...]

    def to_json(self, tag_set: TagSet) -> dict[str, str]:
        """The token of each tag name, as a manifest keeps it."""
        return dict(zip(tag_set.tag_names, self.tokens, strict=True))


def choose_verbalizers(tokenizer: PreTrainedTokenizerBase, tag_set: TagSet) -> Verbalizers:
    """Choose a token of the base model's own vocabulary for every tag.

    A word is letters and digits, or a single mark. So a token that mixes the two, such as ``(s`` or
    ``=>``, can never come from tokenizing one word. Of those, the shortest and most frequent are
    chosen, always the same for the same tokenizer. Raises `BaseModelError` where there are too few.
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
