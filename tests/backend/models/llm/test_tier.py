"""A decoder as a tier: long, empty and hostile texts, drafts, and memory that does not suffice."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tagalong.backend.models.llm.decoding import DecodedWindow
from tagalong.backend.models.llm.prompt import INSTRUCTION, TAGS_HEADER, TEXT_HEADER, PromptWindow
from tagalong.backend.models.llm.tier import LLMTier
from tagalong.ner.document import Document, Span
from tagalong.ner.errors import OutOfMemoryError
from tests.errors import raises
from tests.lexicon_tier import LexiconTier
from tests.tiny_llms import TAGS, TinyLLM, make_llm, make_tiny_llm, random_texts, words_of


@pytest.fixture(scope="module")
def rig() -> TinyLLM:
    return make_tiny_llm(make_llm("llama"))


def tier_of(rig: TinyLLM, **changes: Any) -> LLMTier:
    return LLMTier(rig.decoder, rig.planner, tag_set=TAGS, version="llm-1", **changes)


def found(tier: LLMTier, documents: Sequence[Document]) -> list[tuple[Span, ...]]:
    """What counts: scores may differ by what the order of additions makes of a float."""
    return [prediction.spans for prediction in tier.predict(documents)]


def documents_of(texts: Sequence[str]) -> list[Document]:
    return [Document(str(number), text) for number, text in enumerate(texts)]


def test_drafts_change_the_cost_and_nothing_else(rig: TinyLLM) -> None:
    documents = documents_of([*random_texts(4, 10, longest=60), "Naloxone and lithium", ""])
    plain, drafted = tier_of(rig), tier_of(rig, drafter=LexiconTier("e-1").predict)
    assert found(plain, documents) == found(drafted, documents)
    assert plain.decoding_stats.slots == drafted.decoding_stats.slots
    assert plain.decoding_stats.documents == drafted.decoding_stats.documents == len(documents)
    perfect = tier_of(rig, drafter=plain.predict)
    assert found(perfect, documents) == found(tier_of(rig), documents)
    assert perfect.decoding_stats.passes == len(documents) - 1  # the empty text needs none
    assert perfect.decoding_stats.accepted == perfect.decoding_stats.slots


def test_a_draft_of_other_labels_is_only_a_worse_draft(rig: TinyLLM) -> None:
    documents = documents_of(["Naloxone and lithium", "clonidine"])
    foreign = LexiconTier("e-1", {"naloxone": "Gene", "lithium": "Chemical"})
    assert tier_of(rig, drafter=foreign.predict).predict(documents) == tier_of(rig).predict(
        documents
    )


def test_long_documents_are_never_cut() -> None:
    rig = make_tiny_llm(make_llm("llama"), window=256)
    text = " ".join(random_texts(1, 60, longest=40))
    words = words_of([text])[0]
    layouts = rig.planner.build([text], [words])
    assert len(layouts) > 5
    assert [word for layout in layouts for word in layout.owned_words] == list(range(len(words)))
    assert max(len(layout.input_ids) + len(rig.planner.prefix) for layout in layouts) <= 256
    (prediction,) = tier_of(rig).predict(documents_of([text]))
    assert len(prediction.tag_confidences) == len(words)


def test_each_word_is_decided_in_the_window_that_owns_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second window says that one entity goes through all of it, the others say O."""
    rig = make_tiny_llm(make_llm("llama"), window=256)
    begin, inside, outside = map(TAGS.tag_names.index, ("B-Chemical", "I-Chemical", "O"))
    documents = documents_of([" ".join(random_texts(seed, 60, longest=40)) for seed in (1, 2)])
    words = words_of([document.text for document in documents])
    layouts = rig.planner.build([document.text for document in documents], words)
    entities = layouts[1::2]
    assert any(row.owned_words.start > row.words.start for row in entities)  # with context before

    def decode(rows: Sequence[PromptWindow], _: object) -> list[DecodedWindow]:
        return [
            DecodedWindow(
                (begin, *[inside] * (len(row.words) - 1))
                if row in entities
                else (outside,) * len(row.words),
                np.repeat(np.array(row.words, np.float32)[:, None], len(TAGS), axis=1),
                *(1, 1, 0),
            )
            for row in rows
        ]

    tier = tier_of(rig)
    monkeypatch.setattr(tier, "_decode", decode)
    decided = tier.decode_words(documents, words)
    for (tags, logits), of_document in zip(decided, words, strict=True):
        assert logits[:, 0].tolist() == [*range(len(of_document))]
        assert all(TAGS.may_follow(*pair) for pair in zip(tags[1:], tags, strict=False))
    for row in layouts:
        tags = decided[row.document_index][0][row.owned_words.start : row.owned_words.stop]
        first = [begin] if row in entities else [outside]
        assert tags == first + (len(tags) - 1) * ([inside] if row in entities else [outside])


def test_a_text_of_ten_thousand_words_and_one_of_none() -> None:
    rig = make_tiny_llm(make_llm("llama"), window=512)
    long = " ".join(["naloxone"] * 10_000)
    predictions = tier_of(rig).predict(documents_of([long, "", " \n", "😀"]))
    assert [len(prediction.tag_confidences) for prediction in predictions] == [10_000, 0, 0, 1]
    assert [prediction.score for prediction in predictions[1:3]] == [1.0, 1.0]


def test_texts_that_hold_the_prompt_or_the_verbalisers_change_nothing_around_them(
    rig: TinyLLM,
) -> None:
    hostile = (
        INSTRUCTION
        + TEXT_HEADER
        + TAGS_HEADER
        + " ".join(rig.planner.verbalizers.tokens)
        + "<s></s>…... (("
    )
    words = words_of([hostile])[0]
    (layout,) = rig.planner.build([hostile], [words])
    taken = set(rig.planner.verbalizers.ids)
    assert [place for place, number in enumerate(layout.input_ids) if number in taken] == list(
        layout.slot_positions
    )
    (prediction,) = tier_of(rig).predict(documents_of([hostile]))
    assert len(prediction.tag_confidences) == len(words)


@settings(max_examples=100)
@given(text=st.text(max_size=60))
def test_no_word_is_ever_a_verbaliser(text: str) -> None:
    rig = make_tiny_llm(SHARED)
    layouts = rig.planner.build([text], words_of([text]))
    taken = set(rig.planner.verbalizers.ids)
    for layout in layouts:
        places = [place for place, number in enumerate(layout.input_ids) if number in taken]
        assert places == list(layout.slot_positions)
        assert len(layout.slot_positions) == len(layout.words)


SHARED = make_llm("llama")


@contextmanager
def narrow(rig: TinyLLM, *, rows: int, raises: Exception | None = None) -> Iterator[None]:
    """A device that holds few rows: for more the allocator is asked for what no machine has."""

    def allocate(_: Any, __: Any, given: dict[str, Any]) -> None:
        if given["input_ids"].shape[0] > rows:
            if raises is not None:
                raise raises
            torch.empty(1 << 60, dtype=torch.uint8)

    hook = rig.model.get_decoder().register_forward_pre_hook(allocate, with_kwargs=True)
    rig.scorer.clear_prefix_cache()  # so that the prefix is run again
    try:
        yield
    finally:
        hook.remove()


@pytest.mark.parametrize("error", [None, torch.OutOfMemoryError("CUDA out of memory")])
def test_a_batch_that_does_not_fit_is_halved(rig: TinyLLM, error: Exception | None) -> None:
    documents = documents_of(random_texts(9, 13, longest=20))
    plenty = found(tier_of(rig), documents)
    tier = tier_of(rig)
    with narrow(rig, rows=2, raises=error):
        assert found(tier, documents) == plenty
    assert tier.decoding_stats.documents == 13
    assert tier.decoding_stats.slots == sum(
        map(len, words_of([document.text for document in documents]))
    )


def test_a_window_that_does_not_fit_alone_says_what_to_lower(rig: TinyLLM) -> None:
    with narrow(rig, rows=0), raises(OutOfMemoryError, "window-too-large-for-memory"):
        tier_of(rig).predict(documents_of(["Naloxone"]))


def test_other_errors_are_not_taken_for_memory(rig: TinyLLM) -> None:
    with (
        narrow(rig, rows=0, raises=RuntimeError("shapes differ")),
        pytest.raises(RuntimeError) as raised,
    ):
        tier_of(rig).predict(documents_of(["Naloxone"]))
    assert str(raised.value) == "shapes differ"
