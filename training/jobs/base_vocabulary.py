"""Whether the vocabulary of a base model has the words that a version is trained on."""

from collections import Counter
from itertools import pairwise

from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.models.text.subwords import MAX_SUBWORDS_PER_WORD, SubWordTokenizer
from tagalong.training.data.train_dev_split import TrainDevSplit

MAX_SAMPLED_DOCUMENTS = 200
MAX_UNKNOWN_SHARE = 0.05  # of words; any vocabulary lacks some symbols
SHOWN_WORDS = 3


def describe_unknown_words(base: BaseModelRef, split: TrainDevSplit) -> str:
    """Say how many words of train have no token in the base model; empty if hardly any.

    Raises `BaseModelError` if the base is not available.
    """
    tokenizer = SubWordTokenizer(base.load_tokenizer())
    if tokenizer.tokenizer.unk_token_id is None:  # it has bytes
        return ""
    texts = [one.text for one in split.train[:: -(-len(split.train) // MAX_SAMPLED_DOCUMENTS) or 1]]
    words = [split.word_rule.find_words(text) for text in texts]
    subwords = tokenizer.split(texts, words, max_subwords_per_word=MAX_SUBWORDS_PER_WORD)
    unknown = Counter[str]()
    for text, offsets, found in zip(texts, words, subwords, strict=True):
        for (start, end), (first, last) in zip(offsets, pairwise(found.word_starts), strict=True):
            if tokenizer.unknown_id in found.ids[first:last]:
                unknown[text[start:end]] += 1
    share = unknown.total() / max(1, sum(map(len, words)))
    if share <= MAX_UNKNOWN_SHARE:
        return ""
    shown = ", ".join(repr(word) for word, _ in unknown.most_common(SHOWN_WORDS))
    return (
        f"The base model has no token for {100 * share:.0f} % of the words, such as {shown}, and "
        "takes them for the same: train with a --base that knows these characters."
    )
