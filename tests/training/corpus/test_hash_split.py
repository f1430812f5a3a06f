"""Splits: a partition that depends only on the texts and stays the same."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.ner.document import Document
from tagalong.ner.errors import InputError
from tagalong.training.corpus.hash_split import (
    find_repeated_texts,
    find_shared_texts,
    normalize_text,
    split_documents,
    split_off_dev,
    split_off_held_out,
)
from tests.errors import raises
from tests.odd_documents import odd_documents
from tests.toy_corpus import toy_documents

SHARES = {"train": 0.8, "dev": 0.1, "test": 0.1}
MANY = toy_documents(400)
SIXTY = toy_documents(60, seed=3)

corpora = st.lists(odd_documents(), max_size=8)
weights = st.lists(st.integers(1, 9), min_size=1, max_size=4)


@given(corpora, weights)
def test_split_is_an_ordered_partition(documents: list[Document], weights: list[int]) -> None:
    shares = {str(i): weight / sum(weights) for i, weight in enumerate(weights)}
    sides = split_documents(documents, shares)
    assert list(sides) == list(shares)
    assert sum(map(len, sides.values())) == len(documents)
    for side in sides.values():
        assert side == [document for document in documents if document in side]


@given(corpora, corpora)
def test_side_depends_only_on_the_text(documents: list[Document], others: list[Document]) -> None:
    alone = split_documents(documents, SHARES)
    together = split_documents([*others, *documents[::-1]], SHARES)
    for name, side in alone.items():
        renamed = [replace(document, id="x", spans=()) for document in side]
        assert split_documents(renamed, SHARES)[name] == renamed
        assert all(document in together[name] for document in side)


@given(corpora)
def test_equal_texts_are_on_the_same_side(documents: list[Document]) -> None:
    copies = [replace(one, text=f" {one.text.upper()}\n", spans=()) for one in documents]
    sides = split_documents([*documents, *copies], SHARES)
    assert find_shared_texts(sides["train"], sides["dev"] + sides["test"]) == []
    assert find_shared_texts(sides["dev"], sides["test"]) == []
    assert find_shared_texts(*split_off_dev([*documents, *copies], 0.3)) == []


def test_larger_first_share_only_adds_documents() -> None:
    small = split_documents(MANY, {"train": 0.5, "dev": 0.5})["train"]
    large = split_documents(MANY, {"train": 0.7, "dev": 0.3})["train"]
    assert {document.id for document in small} < {document.id for document in large}


def test_side_sizes_match_shares() -> None:
    sides = split_documents(MANY, SHARES)
    for name, share in SHARES.items():
        spread = math.sqrt(len(MANY) * share * (1 - share))
        assert abs(len(sides[name]) - share * len(MANY)) < 3 * spread
    assert len(split_off_dev(MANY, 0.25)[1]) == pytest.approx(100, abs=27)


def test_sides_are_pinned() -> None:
    documents = [Document(name, f"case {name}") for name in "abcdefghijkl"]
    sides = split_documents(documents, {"train": 0.5, "dev": 0.25, "test": 0.25})
    names = {side: "".join(one.id for one in there) for side, there in sides.items()}
    assert names == {"train": "aefhil", "dev": "cjk", "test": "bdg"}
    assert "".join(document.id for document in split_off_dev(documents, 0.3)[1]) == "bgijk"


def test_holding_out_of_a_train_side_is_independent() -> None:
    train = split_documents(MANY, SHARES)["train"]
    stay, held = split_off_dev(train, 0.1)
    assert len(stay) + len(held) == len(train)
    assert 10 < len(held) < 60  # the split's own hash would hold out all or none of a side


@given(st.lists(odd_documents(), min_size=2, max_size=4), st.floats(0.01, 0.99))
def test_two_different_texts_fill_both_sides(documents: list[Document], share: float) -> None:
    stay, held = split_off_dev(documents, share)
    if len({normalize_text(document.text) for document in documents}) > 1:
        assert stay
        assert held


@pytest.mark.parametrize(
    "shares",
    [{}, {"train": 0.5}, {"train": 0.5, "dev": 0.6}, {"train": 1.5, "dev": -0.5},
     {"train": 1.0, "dev": 0.0}, {"train": math.nan, "dev": 0.5}, {"train": math.inf}],
)  # fmt: skip
def test_shares_must_sum_to_1(shares: dict[str, float]) -> None:
    with raises(InputError, "shares-not-one"):
        split_documents(MANY, shares)


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.1, math.nan])
def test_held_out_share_is_between_0_and_1(share: float) -> None:
    with raises(InputError, "share-not-a-part"):
        split_off_dev(MANY, share)


def test_shared_and_duplicate_texts_are_found() -> None:
    one, same = Document("1", "Acute renal\nfailure"), Document("2", " acute  RENAL failure ")
    other = Document("3", "acute renal failures")
    assert find_shared_texts([one, same], [other, same]) == [(one, same)]
    assert find_repeated_texts([one, other, same]) == [[one, same]]


@given(st.integers(0, 60), st.integers(0, 60), st.floats(0.05, 0.95))
def test_held_out_text_stays_held_out(one: int, two: int, share: float) -> None:
    few, many = sorted((one, two))
    learnt, kept_out = split_off_held_out(SIXTY[:few], share)
    learnt_later, kept_out_later = split_off_held_out(SIXTY[:many], share)
    assert set(learnt) <= set(learnt_later)
    assert set(kept_out) <= set(kept_out_later)
    assert sorted([*learnt, *kept_out], key=SIXTY.index) == SIXTY[:few]


def test_white_space_and_case_do_not_change_the_side() -> None:
    _, kept_out = split_off_held_out(SIXTY, 0.3)
    for document in kept_out:
        copy = Document("copy", f"  {document.text.upper()}\n")
        assert split_off_held_out([copy], 0.3) == ([], [copy])


def test_sides_are_drawn_independently() -> None:
    documents = toy_documents(3000, seed=9, sentences=1)
    learnt, kept_out = split_off_held_out(documents, 0.2)
    assert abs(len(kept_out) - 600) < 80
    _, dev = split_off_dev(learnt, 0.2)
    assert abs(len(dev) - len(learnt) / 5) < 80
    sides = split_documents(kept_out, {"train": 0.5, "test": 0.5})
    assert abs(len(sides["train"]) - len(kept_out) / 2) < 60
