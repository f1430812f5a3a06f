"""Verified decoding is greedy decoding, tag for tag, whatever draft, batch and model."""

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from tagalong.backend.models.decoding.viterbi import FloatArray, legal_transitions
from tagalong.backend.models.llm.decoding import DecodedWindow, SlotDecoder
from tagalong.backend.models.llm.prompt import PromptWindow, Verbalizers
from tagalong.backend.models.llm.scorer import KVCache
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
def rig(request: pytest.FixtureRequest) -> TinyLLM:
    return make_tiny_llm(make_llm(request.param))


def layouts_of(rig: TinyLLM, texts: list[str]) -> list[PromptWindow]:
    return rig.planner.build(texts, words_of(texts))


def tags_of(decoded: list[DecodedWindow]) -> list[tuple[int, ...]]:
    return [entry.tags for entry in decoded]


@pytest.fixture(scope="module")
def sequential(rig: TinyLLM) -> Callable[[int], tuple[list[PromptWindow], list[DecodedWindow]]]:
    """Texts by their number, and their tags decoded word by word: slow, so done once."""

    @cache
    def decode(size: int) -> tuple[list[PromptWindow], list[DecodedWindow]]:
        layouts = layouts_of(rig, random_texts(size, size, longest=120))
        return layouts, rig.decoder.decode(layouts, decoding_mode="sequential")

    return decode


@torch.inference_mode()
def plainly(rig: TinyLLM, layout: PromptWindow) -> list[int]:
    """Greedy decoding with nothing kept: the whole text through the model for every slot."""
    legal = legal_transitions(TAGS)
    tags: list[int] = []
    for slot in layout.slot_positions:
        ids = layout.fill_slots(
            [*tags, *[0] * (len(layout.words) - len(tags))], rig.planner.verbalizers
        )
        whole = torch.tensor([[*rig.planner.prefix, *ids[:slot]]])
        logits = rig.model(whole).logits[0, -1, list(rig.planner.verbalizers.ids)].numpy()
        before = tags[-1] if tags else -1
        tags.append(int(np.where(legal[before], logits, -np.inf).argmax()))
    return tags


def test_sequential_is_what_the_whole_model_says_word_by_word(rig: TinyLLM) -> None:
    layouts = layouts_of(rig, random_texts(3, 8, longest=40))
    found = rig.decoder.decode(layouts, decoding_mode="sequential")
    assert [list(entry.tags) for entry in found] == [plainly(rig, layout) for layout in layouts]


@pytest.mark.parametrize("size", [1, 2, 7, 16])
@pytest.mark.parametrize("draft", ["outside", "hostile", "right"])
def test_verified_equals_sequential(rig: TinyLLM, sequential: Any, size: int, draft: str) -> None:
    layouts, reference = sequential(size)
    drafts = {
        "outside": None,
        "hostile": [random_draft(n, len(layout.words)) for n, layout in enumerate(layouts)],
        "right": [list(entry.tags) for entry in reference],
    }[draft]
    found = rig.decoder.decode(layouts, drafts)
    assert tags_of(found) == tags_of(reference)
    for one, other in zip(found, reference, strict=True):
        np.testing.assert_allclose(one.logits, other.logits, atol=2e-4)
        assert other.passes == len(other.tags)
        assert one.passes <= len(one.tags)
    if draft == "right":
        assert [entry.passes for entry in found] == [1] * size
        assert [entry.accepted for entry in found] == [len(entry.tags) for entry in found]


def test_a_batch_says_what_each_text_says_alone(rig: TinyLLM) -> None:
    layouts = layouts_of(rig, random_texts(11, 9, longest=60))
    together = rig.decoder.decode(layouts)
    alone = [rig.decoder.decode([layout])[0] for layout in layouts]
    assert tags_of(together) == tags_of(alone)
    assert [entry.passes for entry in together] == [entry.passes for entry in alone]


@pytest.mark.parametrize("positions", LIMITED_POSITIONS)
def test_no_padding_goes_beyond_the_window(positions: str) -> None:
    window = 200
    rig = make_tiny_llm(make_window_limited_llm(positions, window), window=window)
    texts = ["naloxone", " ".join(["naloxone"] * 25), *random_texts(3, 12, longest=40)]
    layouts = layouts_of(rig, texts)
    batch, alone = [], []
    for start in range(0, len(layouts), 16):
        batch += rig.decoder.decode(layouts[start : start + 16])
    for layout in layouts:
        alone += rig.decoder.decode([layout], decoding_mode="sequential")
    assert [one.tags for one in batch] == [one.tags for one in alone]
    for ours, theirs in zip(batch, alone, strict=True):
        assert ours.logits == pytest.approx(theirs.logits, abs=1e-3)


@pytest.mark.parametrize("decoding", ["verified", "sequential", "single_pass"])
def test_tags_are_legal(rig: TinyLLM, decoding: str) -> None:
    layouts = layouts_of(rig, random_texts(5, 6, longest=50))
    for entry in rig.decoder.decode(layouts, decoding_mode=decoding):  # type: ignore[arg-type]
        for before, tag in pairwise((None, *entry.tags)):
            assert TAGS.may_follow(tag, before)  # type: ignore[arg-type]


def test_a_single_pass_is_one_pass(rig: TinyLLM) -> None:
    layouts = layouts_of(rig, random_texts(8, 5, longest=50))
    found = rig.decoder.decode(layouts, decoding_mode="single_pass")
    assert {entry.passes for entry in found} == {1}


class Scripted:
    """A model of one row that prefers what is written down: a tag for every word, as tags go.

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


def test_what_a_pass_prefers_is_the_draft_of_the_next() -> None:
    """Two words of one entity and one that follows from it, all drafted as O.

    The first pass puts the entity's first word right, and so its second: nothing but what this pass
    says of it stands between them. What it says of the last but one is of no use, as the entity was
    not there yet: the second pass puts it right, and the third finds nothing to change. With O
    instead of what the first pass says, the second word would take a pass of its own.
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
    assert found.tokens == 11 + 8 + 2  # to the last slot: from the start, from words 1 and 4 on
    [reference] = decoder.decode([layout], decoding_mode="sequential")
    assert (list(reference.tags), reference.passes) == (right, 6)
    [drafted] = decoder.decode([layout], [right])
    assert (list(drafted.tags), drafted.passes) == (right, 1)


def test_tags_fed_back_change_what_follows() -> None:
    """The reference is no independent choice per word, or the test of equality would be easy."""
    rig = make_tiny_llm(make_llm("llama"))
    layouts = layouts_of(rig, random_texts(2, 12, longest=80))
    one_pass = rig.decoder.decode(layouts, decoding_mode="single_pass")
    assert tags_of(one_pass) != tags_of(rig.decoder.decode(layouts))
