"""Sub-words of words, for every tokenizer family and any text."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.models.text.subwords import SubWordTokenizer
from tagalong.backend.models.text.windows import WindowConfig, WindowEncoder
from tagalong.ner.words import word_offsets
from tests.tiny_bases import CORPUS, FAMILIES

ODD = [
    "",
    "   ",
    "\r\n\r\n",
    "😀 😀",
    "(R)-(-)-1-(2-chlorophenyl)-N-methyl... [3H]GABA",
    "a\x00b \x00 c",
    "e\u0301tude \u0301 naïve ﬁbrosis ½ İstanbul",
    "β-adrenergic\u00a0naïve\u2009zero\u200bwidth",
    "Ca2+\r\n5-HT6  Li+\tNa+",
    "x" * 3000,
]


@pytest.fixture(params=FAMILIES)
def splitter(request, tiny_base):
    return SubWordTokenizer(BaseModelRef(str(tiny_base(request.param))).load_tokenizer())


def split(splitter, text, max_subwords_per_word=64):
    words = word_offsets(text)
    [subwords] = splitter.split([text], [words], max_subwords_per_word=max_subwords_per_word)
    return words, subwords


@pytest.mark.parametrize("text", ODD + CORPUS[:4])
def test_every_word_has_its_own_subwords(splitter, text):
    words, subwords = split(splitter, text)
    assert len(subwords.subwords_per_word) == len(words)
    assert all(1 <= length <= 64 for length in subwords.subwords_per_word)
    assert subwords.word_starts[-1] == len(subwords.ids)


@settings(max_examples=60)
@given(text=st.text(max_size=60))
def test_every_word_of_any_unicode_text_has_its_own_subwords(tiny_base, text):
    for family in FAMILIES:
        tokenizer = BaseModelRef(str(tiny_base(family))).load_tokenizer()
        words, subwords = split(SubWordTokenizer(tokenizer), text)
        assert len(subwords.subwords_per_word) == len(words)
        assert all(subwords.subwords_per_word)


def test_plain_text_is_tokenized_as_by_the_tokenizer(splitter):
    text = "Naloxone reverses the antihypertensive effect of clonidine"
    _, subwords = split(splitter, text)
    assert list(subwords.ids) == splitter.tokenizer(text, add_special_tokens=False)["input_ids"]


def test_subword_across_words_is_split(tiny_base):
    splitter = SubWordTokenizer(BaseModelRef(str(tiny_base("llama"))).load_tokenizer())
    text = "failure; (Li+) toxicity, e.g. Ca2+) toxicity"
    whole = splitter.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    spanning = [text[start:end] for start, end in whole["offset_mapping"] if end - start > 1]
    assert "+)" in spanning  # else the test proves nothing
    words, subwords = split(splitter, text)
    assert len(subwords.subwords_per_word) == len(words)


def test_long_word_is_truncated_to_its_start(splitter):
    _, subwords = split(splitter, "aspirin" * 14 + " toxicity", max_subwords_per_word=4)
    assert subwords.subwords_per_word[0] == 4


def test_windows_have_first_subwords_and_special_tokens(splitter):
    text = " ".join(CORPUS[:4])
    words = word_offsets(text)
    encoder = WindowEncoder(splitter.tokenizer, WindowConfig(window=48, context=8))
    windows = encoder.encode([text, ""], [words, []])
    _, subwords = split(splitter, text)
    assert len(windows) > 2
    assert [word for window in windows for word in window.owned_words] == list(range(len(words)))
    for window in windows:
        assert len(window.input_ids) <= 48
        assert list(window.input_ids[: len(splitter.prefix)]) == splitter.prefix
        for word, position in zip(window.words, window.word_positions, strict=True):
            assert window.input_ids[position] == subwords.ids[subwords.word_starts[word]]
        owned = zip(window.owned_words, window.owned_positions, strict=True)
        assert set(owned) <= set(zip(window.words, window.word_positions, strict=True))
    batch = encoder.pad(windows)
    assert batch["attention_mask"].sum().item() == sum(len(window.input_ids) for window in windows)


def test_rows_are_padded_up_to_the_longest_window(splitter):
    encoder = WindowEncoder(
        splitter.tokenizer, WindowConfig(window=48, context=8), max_positions=44
    )
    lengths = set()
    for count in range(1, 60):
        text = "lithium " * count
        windows = encoder.encode([text], [word_offsets(text)])
        plain, rounded = encoder.pad(windows), encoder.pad(windows, pad_to_multiple_of=16)
        longest = plain["input_ids"].shape[1]
        lengths.add(rounded["input_ids"].shape[1])
        for name in plain:
            padding = rounded[name][:, longest:]
            assert np.array_equal(rounded[name][:, :longest], plain[name])
            assert (padding == (encoder.tokenizer.pad_token_id if name == "input_ids" else 0)).all()
    assert lengths == {16, 32, 44}
