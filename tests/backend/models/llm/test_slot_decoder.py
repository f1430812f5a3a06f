"""Verified decoding equals greedy decoding for any draft, batch and model."""

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from tagalong.backend.models.decoding.viterbi import FloatArray, legal_transitions
from tagalong.backend.models.llm.prompt import PromptWindow, Verbalizers
from tagalong.backend.models.llm.scorer import KVCache
from tagalong.backend.models.llm.slot_decoder import DecodedWindow, SlotDecoder
from tagalong.ner.tags import OUTSIDE
from tests.tiny_llms import (
    FAMILIES,
    LIMITED_POSITIONS,
    TAGS,
    TinyLLM,
    make_llm,
    make_tiny_llm,
    make_window_limited_llm,
    random_draft,
    random_texts,
    words_of,
)


@pytest.fixture(scope="module", params=FAMILIES)
def tiny_llm(request: pytest.FixtureRequest) -> TinyLLM:
    return make_tiny_llm(make_llm(request.param))


def layouts_of(tiny_llm: TinyLLM, texts: list[str]) -> list[PromptWindow]:
    return tiny_llm.planner.build(texts, words_of(texts))


def tags_of(decoded: list[DecodedWindow]) -> list[tuple[int, ...]]:
    return [entry.tags for entry in decoded]


@pytest.fixture(scope="module")
def sequential(
    tiny_llm: TinyLLM,
) -> Callable[[int], tuple[list[PromptWindow], list[DecodedWindow]]]:
    """Texts by their number, with tags of sequential decoding: computed once, as it is slow."""

    @cache
    def decode(size: int) -> tuple[list[PromptWindow], list[DecodedWindow]]:
        layouts = layouts_of(tiny_llm, random_texts(size, size, longest=80))
        return layouts, tiny_llm.decoder.decode(layouts, decoding_mode="sequential")

    return decode


@torch.inference_mode()
def greedy_decode_uncached(tiny_llm: TinyLLM, layout: PromptWindow) -> list[int]:
    """Greedy decoding without a KV cache: one run of the whole prompt per slot."""
    legal = legal_transitions(TAGS)
    tags: list[int] = []
    for slot in layout.slot_positions:
        ids = layout.fill_slots(
            [*tags, *[0] * (len(layout.words) - len(tags))], tiny_llm.planner.verbalizers
        )
        whole = torch.tensor([[*tiny_llm.planner.prefix, *ids[:slot]]])
        logits = tiny_llm.model(whole).logits[0, -1, list(tiny_llm.planner.verbalizers.ids)].numpy()
        before = tags[-1] if tags else -1
        tags.append(int(np.where(legal[before], logits, -np.inf).argmax()))
    return tags


def test_cached_sequential_decoding_equals_uncached_greedy_decoding(tiny_llm: TinyLLM) -> None:
    layouts = layouts_of(tiny_llm, random_texts(3, 8, longest=40))
    found = tiny_llm.decoder.decode(layouts, decoding_mode="sequential")
    assert [list(entry.tags) for entry in found] == [
        greedy_decode_uncached(tiny_llm, layout) for layout in layouts
    ]


@pytest.mark.parametrize("size", [1, 2, 7, 16])
@pytest.mark.parametrize("draft", ["outside", "hostile", "right"])
def test_verified_decoding_equals_sequential_decoding(
    tiny_llm: TinyLLM, sequential: Any, size: int, draft: str
) -> None:
    layouts, reference = sequential(size)
    drafts = {
        "outside": None,
        "hostile": [random_draft(n, len(layout.words)) for n, layout in enumerate(layouts)],
        "right": [list(entry.tags) for entry in reference],
    }[draft]
    found = tiny_llm.decoder.decode(layouts, drafts)
    assert tags_of(found) == tags_of(reference)
    for one, other in zip(found, reference, strict=True):
        np.testing.assert_allclose(one.logits, other.logits, atol=2e-4)
        assert other.passes == len(other.tags)
        assert one.passes <= len(one.tags)
    if draft == "right":
        assert [entry.passes for entry in found] == [1] * size
        assert [entry.accepted for entry in found] == [len(entry.tags) for entry in found]


def test_batch_equals_single_texts(tiny_llm: TinyLLM) -> None:
    layouts = layouts_of(tiny_llm, random_texts(11, 9, longest=60))
    together = tiny_llm.decoder.decode(layouts)
    alone = [tiny_llm.decoder.decode([layout])[0] for layout in layouts]
    assert tags_of(together) == tags_of(alone)
    assert [entry.passes for entry in together] == [entry.passes for entry in alone]


@pytest.mark.parametrize("positions", LIMITED_POSITIONS)
def test_padding_stays_inside_the_window(positions: str) -> None:
    window = 200
    tiny_llm = make_tiny_llm(make_window_limited_llm(positions, window), window=window)
    texts = ["naloxone", " ".join(["naloxone"] * 25), *random_texts(3, 12, longest=40)]
    layouts = layouts_of(tiny_llm, texts)
    batch, alone = [], []
    for start in range(0, len(layouts), 16):
        batch += tiny_llm.decoder.decode(layouts[start : start + 16])
    for layout in layouts:
        alone += tiny_llm.decoder.decode([layout], decoding_mode="sequential")
    assert [one.tags for one in batch] == [one.tags for one in alone]
    for ours, theirs in zip(batch, alone, strict=True):
        assert ours.logits == pytest.approx(theirs.logits, abs=1e-3)


@pytest.mark.parametrize("decoding", ["verified", "sequential", "single_pass"])
def test_tags_are_legal(tiny_llm: TinyLLM, decoding: str) -> None:
    layouts = layouts_of(tiny_llm, random_texts(5, 6, longest=50))
    for entry in tiny_llm.decoder.decode(layouts, decoding_mode=decoding):  # type: ignore[arg-type]
        for before, tag in pairwise((None, *entry.tags)):
            assert TAGS.may_follow(tag, before)  # type: ignore[arg-type]


def test_single_pass_decoding_takes_one_pass(tiny_llm: TinyLLM) -> None:
    layouts = layouts_of(tiny_llm, random_texts(8, 5, longest=50))
    found = tiny_llm.decoder.decode(layouts, decoding_mode="single_pass")
    assert {entry.passes for entry in found} == {1}


class Scripted:
    """A model of one row with scripted preferences: a tag for each word, given the previous tag.

    Words are numbers above the tags, and every word is followed by its slot.
    """

    def __init__(self, prefers: Callable[[list[int]], int]) -> None:
        self._prefers = prefers
        self._read: list[int] = []

    def new_cache(self, rows: int) -> KVCache:
        assert rows == 1
        self._read = []
        return KVCache([0])

    def run_pass(
        self, held: KVCache, fed: list[list[int]], wanted: list[list[int]]
    ) -> list[FloatArray]:
        [before] = held.lengths
        self._read = [*self._read[:before], *fed[0]]
        held.lengths = [len(self._read)]
        logits = np.zeros((len(wanted[0]), len(TAGS)), np.float32)
        for row, place in enumerate(wanted[0]):
            logits[row, self._prefers(self._read[1 : before + place + 1 : 2])] = 1.0
        return [logits]


def test_preferred_tags_become_the_next_draft() -> None:
    """Three dependent words, all drafted as O: two of one entity, and one that follows from it.

    The first pass corrects the two words of the entity. Its preference for the dependent word is
    wrong, because the entity was missing from the draft: the second pass corrects it, and the third
    changes nothing. Without the preferences of the first pass as the next draft, the second word
    would need a pass of its own.
    """
    begin, inside = TAGS.begin_tag("Chemical"), TAGS.begin_tag("Chemical") + 1
    disease = TAGS.begin_tag("Disease")
    right = [OUTSIDE, begin, inside, OUTSIDE, disease, OUTSIDE]

    def prefers(before: list[int]) -> int:
        word = len(before)
        return OUTSIDE if word == 4 and before[1] != begin else right[word]

    words = range(6)
    ids = tuple(number for word in words for number in (100 + word, OUTSIDE))
    layout = PromptWindow(words, words, 0, ids, slot_positions=(1, 3, 5, 7, 9, 11))
    scorer: Any = Scripted(prefers)
    decoder = SlotDecoder(scorer, TAGS, Verbalizers(tuple("ABCDE"), tuple(range(5))))
    [found] = decoder.decode([layout])
    assert (list(found.tags), found.passes, found.accepted) == (right, 3, 3)
    # Up to the last slot: from the start, from word 1 and from word 4.
    assert found.tokens == 11 + 8 + 2
    [reference] = decoder.decode([layout], decoding_mode="sequential")
    assert (list(reference.tags), reference.passes) == (right, 6)
    [drafted] = decoder.decode([layout], [right])
    assert (list(drafted.tags), drafted.passes) == (right, 1)


def test_previous_tags_influence_next_tags() -> None:
    """Proves that tags depend on previous tags; otherwise the equality above is trivial."""
    tiny_llm = make_tiny_llm(make_llm("llama"))
    layouts = layouts_of(tiny_llm, random_texts(2, 12, longest=80))
    one_pass = tiny_llm.decoder.decode(layouts, decoding_mode="single_pass")
    assert tags_of(one_pass) != tags_of(tiny_llm.decoder.decode(layouts))
