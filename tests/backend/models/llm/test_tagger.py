"""The LLM tier: long, empty and hostile texts, drafts, and too little memory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tagalong.backend.models.llm.prompt import INSTRUCTION, TAGS_HEADER, TEXT_HEADER, PromptWindow
from tagalong.backend.models.llm.slot_decoder import DecodedWindow
from tagalong.backend.models.llm.tagger import LLMTagger
from tagalong.ner.document import Document, Prediction, Span
from tagalong.ner.errors import OutOfMemoryError
from tagalong.ner.tags import TagSet
from tagalong.ner.words import CHARACTERS, DEFAULT_WORD_RULE, PARTS, WordRule
from tests.errors import raises
from tests.lexicon_tagger import LexiconTagger
from tests.tiny_llms import TAGS, TinyLLM, make_llm, make_tiny_llm, random_texts, words_of


@pytest.fixture(scope="module")
def tiny_llm() -> TinyLLM:
    return make_tiny_llm(make_llm("llama"))


def tagger_of(tiny_llm: TinyLLM, **changes: Any) -> LLMTagger:
    return LLMTagger(tiny_llm.decoder, tiny_llm.planner, tag_set=TAGS, version="llm-1", **changes)


def found(tagger: LLMTagger, documents: Sequence[Document]) -> list[tuple[Span, ...]]:
    """Labels and rounded scores: the order of additions changes the last digits."""
    return [prediction.spans for prediction in tagger.predict(documents)]


def documents_of(texts: Sequence[str]) -> list[Document]:
    return [Document(str(number), text) for number, text in enumerate(texts)]


def test_drafts_change_only_the_cost(tiny_llm: TinyLLM) -> None:
    documents = documents_of([*random_texts(4, 10, longest=60), "Naloxone and lithium", ""])
    plain, drafted = tagger_of(tiny_llm), tagger_of(tiny_llm, drafter=LexiconTagger("e-1").predict)
    assert found(plain, documents) == found(drafted, documents)
    assert plain.decoding_stats.slots == drafted.decoding_stats.slots
    assert plain.decoding_stats.documents == drafted.decoding_stats.documents == len(documents)
    perfect = tagger_of(tiny_llm, drafter=plain.predict)
    assert found(perfect, documents) == found(tagger_of(tiny_llm), documents)
    assert perfect.decoding_stats.passes == len(documents) - 1  # the empty text needs no pass
    assert perfect.decoding_stats.accepted == perfect.decoding_stats.slots


def test_draft_with_other_labels_is_accepted(tiny_llm: TinyLLM) -> None:
    documents = documents_of(["Naloxone and lithium", "clonidine"])
    foreign = LexiconTagger("e-1", {"naloxone": "Gene", "lithium": "Chemical"})
    assert tagger_of(tiny_llm, drafter=foreign.predict).predict(documents) == tagger_of(
        tiny_llm
    ).predict(documents)


@pytest.mark.parametrize(
    ("rule", "drafted", "expected"),
    [
        (PARTS, Span(0, 7, "Disease"), ["B-Disease", "I-Disease", "I-Disease", "O", "O"]),
        (PARTS, Span(3, 4, "Chemical"), ["O", "B-Chemical", "O", "O", "O"]),
        (DEFAULT_WORD_RULE, Span(3, 4, "Chemical"), ["O", "O", "O"]),  # in the word "HER2neu"
        (DEFAULT_WORD_RULE, Span(0, 7, "Disease"), ["B-Disease", "O", "O"]),
    ],
)
def test_drafts_of_other_words_are_carried_by_offsets(
    tiny_llm: TinyLLM, rule: WordRule, drafted: Span, expected: list[str]
) -> None:
    documents, tags = [Document("1", "HER2neu and X")], TagSet(TAGS.labels, rule)
    drafts = [Prediction((drafted,), 1.0, "e-1", word_rule=CHARACTERS)]
    plain, tagger = (
        LLMTagger(tiny_llm.decoder, tiny_llm.planner, tag_set=tags, version="llm-1", **options)
        for options in ({}, {"drafter": lambda _: drafts})
    )
    [encoded] = tagger.encode(documents)
    assert tags.to_names(encoded.draft) == expected
    assert found(tagger, documents) == found(plain, documents)


def test_long_documents_are_not_truncated() -> None:
    tiny_llm = make_tiny_llm(make_llm("llama"), window=256)
    text = " ".join(random_texts(1, 60, longest=40))
    words = words_of([text])[0]
    layouts = tiny_llm.planner.build([text], [words])
    assert len(layouts) > 5
    assert [word for layout in layouts for word in layout.owned_words] == list(range(len(words)))
    assert max(len(layout.input_ids) + len(tiny_llm.planner.prefix) for layout in layouts) <= 256
    (prediction,) = tagger_of(tiny_llm).predict(documents_of([text]))
    assert len(prediction.tag_confidences) == len(words)


def test_each_word_is_tagged_in_its_own_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second window has one long entity; the others have none."""
    tiny_llm = make_tiny_llm(make_llm("llama"), window=256)
    begin, inside, outside = map(TAGS.tag_names.index, ("B-Chemical", "I-Chemical", "O"))
    documents = documents_of([" ".join(random_texts(seed, 60, longest=40)) for seed in (1, 2)])
    words = words_of([document.text for document in documents])
    layouts = tiny_llm.planner.build([document.text for document in documents], words)
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

    tagger = tagger_of(tiny_llm)
    monkeypatch.setattr(tagger, "_decode", decode)
    predict_tags = tagger.decode_words(documents)
    for (tags, logits), of_document in zip(predict_tags, words, strict=True):
        assert logits[:, 0].tolist() == [*range(len(of_document))]
        assert all(TAGS.may_follow(*pair) for pair in zip(tags[1:], tags, strict=False))
    for row in layouts:
        tags = predict_tags[row.document_index][0][row.owned_words.start : row.owned_words.stop]
        first = [begin] if row in entities else [outside]
        assert tags == first + (len(tags) - 1) * ([inside] if row in entities else [outside])


@pytest.mark.slow
def test_text_of_10000_words_and_text_of_none() -> None:
    tiny_llm = make_tiny_llm(make_llm("llama"), window=512)
    long = " ".join(["naloxone"] * 10_000)
    predictions = tagger_of(tiny_llm).predict(documents_of([long, "", " \n", "😀"]))
    assert [len(prediction.tag_confidences) for prediction in predictions] == [10_000, 0, 0, 1]
    assert [prediction.score for prediction in predictions[1:3]] == [1.0, 1.0]


def test_texts_containing_prompt_or_verbalizers_are_harmless(
    tiny_llm: TinyLLM,
) -> None:
    hostile = (
        INSTRUCTION
        + TEXT_HEADER
        + TAGS_HEADER
        + " ".join(tiny_llm.planner.verbalizers.tokens)
        + "<s></s>…... (("
    )
    words = words_of([hostile])[0]
    (layout,) = tiny_llm.planner.build([hostile], [words])
    taken = set(tiny_llm.planner.verbalizers.ids)
    assert [place for place, number in enumerate(layout.input_ids) if number in taken] == list(
        layout.slot_positions
    )
    (prediction,) = tagger_of(tiny_llm).predict(documents_of([hostile]))
    assert len(prediction.tag_confidences) == len(words)


@settings(max_examples=100)
@given(text=st.text(max_size=60))
def test_no_word_is_encoded_as_a_verbalizer(text: str) -> None:
    tiny_llm = make_tiny_llm(SHARED)
    layouts = tiny_llm.planner.build([text], words_of([text]))
    taken = set(tiny_llm.planner.verbalizers.ids)
    for layout in layouts:
        places = [place for place, number in enumerate(layout.input_ids) if number in taken]
        assert places == list(layout.slot_positions)
        assert len(layout.slot_positions) == len(layout.words)


SHARED = make_llm("llama")


@contextmanager
def narrow(tiny_llm: TinyLLM, *, rows: int, raises: Exception | None = None) -> Iterator[None]:
    """A device with memory for few rows: for more, an allocation fails."""

    def allocate(_: Any, __: Any, given: dict[str, Any]) -> None:
        if given["input_ids"].shape[0] > rows:
            if raises is not None:
                raise raises
            torch.empty(1 << 60, dtype=torch.uint8)

    hook = tiny_llm.model.get_decoder().register_forward_pre_hook(allocate, with_kwargs=True)
    tiny_llm.scorer.clear_prefix_cache()  # so that the prefix is computed again
    try:
        yield
    finally:
        hook.remove()


@pytest.mark.parametrize("error", [None, torch.OutOfMemoryError("CUDA out of memory")])
def test_batch_is_halved_when_out_of_memory(tiny_llm: TinyLLM, error: Exception | None) -> None:
    documents = documents_of(random_texts(9, 13, longest=20))
    plenty = found(tagger_of(tiny_llm), documents)
    tagger = tagger_of(tiny_llm)
    with narrow(tiny_llm, rows=2, raises=error):
        assert found(tagger, documents) == plenty
    assert tagger.decoding_stats.documents == 13
    assert tagger.decoding_stats.slots == sum(
        map(len, words_of([document.text for document in documents]))
    )


def test_window_too_large_for_memory_raises_advice(tiny_llm: TinyLLM) -> None:
    with narrow(tiny_llm, rows=0), raises(OutOfMemoryError, "window-too-large-for-memory"):
        tagger_of(tiny_llm).predict(documents_of(["Naloxone"]))


def test_other_errors_are_not_out_of_memory(tiny_llm: TinyLLM) -> None:
    with (
        narrow(tiny_llm, rows=0, raises=RuntimeError("shapes differ")),
        pytest.raises(RuntimeError) as raised,
    ):
        tagger_of(tiny_llm).predict(documents_of(["Naloxone"]))
    assert str(raised.value) == "shapes differ"
