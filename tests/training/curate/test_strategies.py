"""Selection strategies: independent of pool order, deterministic, and exact shares."""

import json
import random
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.label_studio.label_config import DEFAULT_LABEL_CONFIG
from tagalong.backend.models.decoding.predictions import log_softmax
from tagalong.ner.document import Document, Prediction, Span
from tagalong.ner.errors import InputError
from tagalong.ner.words import word_offsets
from tagalong.training.corpus.hash_split import normalize_text
from tagalong.training.curate.diversity_strategies import nearest_distances
from tagalong.training.curate.encoder_outputs import TagDistribution
from tagalong.training.curate.mixed_strategy import percentile_rank
from tagalong.training.curate.pool import Pool, deduplicate_pool
from tagalong.training.curate.selection_options import SelectionOptions, StrategyName
from tagalong.training.curate.strategies import STRATEGIES, select_from_pool

WORDS = ("naloxone", "reverses", "acute", "renal", "failure", "in", "rats", ",", "β-cell")
GREEDY = sorted(set(STRATEGIES) - {"k-means"})  # whose next choice keeps those before
WIDTH = 6


def chance_for(document: Document) -> random.Random:
    """Random numbers that depend only on the text, as a model's output does."""
    return random.Random(document.text)


def documents(count: int, *, seed: int = 0) -> list[Document]:
    chance = random.Random(seed)
    return [
        Document(f"d{number}", f"{seed}.{number} " + " ".join(chance.choices(WORDS, k=9)))
        for number in range(count)
    ]


def predict(document: Document, salt: str = "") -> Prediction:
    """Random output of an untrained model."""
    chance = random.Random(document.text + salt)
    words = word_offsets(document.text)
    sure = tuple(chance.uniform(0.6, 1) for _ in words)
    first = chance.randrange(max(1, len(words)))
    last = min(len(words) - 1, first + chance.randrange(5))
    spans = (Span(words[first][0], words[last][1], "Disease", 0.8),) if words else ()
    score = float(np.exp(np.log(sure).mean())) if words else 1.0
    return Prediction(spans, score, "v", tag_confidences=sure)


def vectors(some) -> np.ndarray:
    rows = [[luck.gauss(0, 1) for _ in range(WIDTH)] for luck in map(chance_for, some)]
    found = np.array(rows).reshape(len(some), WIDTH)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def opinions(some) -> list[TagDistribution]:
    def one(document: Document) -> TagDistribution:
        rows = len(word_offsets(document.text))
        chance = np.random.default_rng(len(document.text))
        log_probs = log_softmax(chance.normal(size=(rows, 5)))
        return TagDistribution(log_probs, log_probs.argmax(axis=1))

    return [one(document) for document in some]


def chosen(pool, name: str, count: int, *, labelled=(), share: float = 0.1, seed: int = 0):
    candidates = deduplicate_pool(pool, labelled, seed=seed).documents
    return select_from_pool(
        Pool(
            candidates,
            [predict(document) for document in candidates],
            [predict(document, "other") for document in candidates],
            labelled,
            embed=vectors,
            tag_distributions=opinions,
        ),
        SelectionOptions(name, count, share, seed),
    )


def choose_by_vectors(pool, places, name: str, count: int, predictions=None):
    """Selection among documents with these vectors."""
    given = dict(zip(pool, predictions or map(predict, pool), strict=True))
    candidates = deduplicate_pool(pool).documents
    return select_from_pool(
        Pool(
            candidates,
            [given[document] for document in candidates],
            embed=lambda some: np.array([places[one.text] for one in some]),
        ),
        SelectionOptions(name, count, 0.0),
    )


def texts(choices) -> list[str]:
    return [choice.document.text for choice in choices]


def texts_of(pool) -> list[str]:
    return [document.text for document in pool]


def test_every_strategy_name_is_implemented() -> None:
    assert set(get_args(StrategyName)) == set(STRATEGIES)


@pytest.mark.parametrize("name", STRATEGIES)
@given(st.data())
def test_selection_ignores_pool_order(name: str, data: st.DataObject) -> None:
    pool = documents(data.draw(st.integers(2, 12)))
    labelled = documents(data.draw(st.integers(0, 3)), seed=1)
    count = data.draw(st.integers(1, 14))
    shuffled = data.draw(st.permutations(pool))
    other = data.draw(st.permutations(labelled))
    one = chosen(pool, name, count, labelled=labelled)
    assert one == chosen(shuffled, name, count, labelled=other)
    assert [choice.score for choice in one] == [
        choice.score for choice in chosen(shuffled, name, count, labelled=other)
    ]


@pytest.mark.parametrize("name", STRATEGIES)
@given(
    size=st.integers(1, 14), count=st.integers(1, 18), share=st.sampled_from([0, 0.1, 0.25, 0.5, 1])
)
def test_selection_has_the_requested_size_without_duplicate_texts(
    name: str, size: int, count: int, share: float
) -> None:
    pool = documents(size)
    again = [Document(f"a{one.id}", f" {one.text.upper()}\n") for one in pool[:4]]
    choices = chosen([*pool, *again], name, count, share=share)
    assert len(choices) == min(count, size)
    assert len({normalize_text(text) for text in texts(choices)}) == len(choices)
    if name != "random":
        by_lot = [choice for choice in choices if choice.reason == "random"]
        assert len(by_lot) == int(share * len(choices) + 0.5)
        assert all(choice.score is None for choice in by_lot)


@pytest.mark.parametrize("name", GREEDY)
@given(count=st.integers(1, 12), share=st.sampled_from([0, 0.1, 0.3, 0.5]))
def test_larger_selection_extends_the_smaller_one(name: str, count: int, share: float) -> None:
    pool, labelled = documents(13), documents(2, seed=1)
    fewer = chosen(pool, name, count, labelled=labelled, share=share)
    more = chosen(pool, name, count + 1, labelled=labelled, share=share)
    assert more[:count] == fewer


@pytest.mark.parametrize("name", STRATEGIES)
def test_annotated_documents_are_not_selected(name: str) -> None:
    pool = documents(12)
    done = [Document(f"x{one.id}", one.text.upper()) for one in pool[:5]]
    choices = chosen(pool, name, 12, labelled=done)
    assert sorted(texts(choices)) == sorted(one.text for one in pool[5:])


@pytest.mark.parametrize("name", STRATEGIES)
def test_random_selection_depends_only_on_the_seed(name: str) -> None:
    pool = documents(40)
    one, again, other = (chosen(pool, name, 20, share=0.5, seed=seed) for seed in (3, 3, 4))
    assert one == again
    assert set(texts(one)) != set(texts(other))


def test_random_share_over_rounds_is_one_random_sample() -> None:
    """The random shares of all rounds are a random sample of the initial pool."""
    pool = documents(60)
    alone = [choice.document for choice in chosen(pool, "random", 60, share=0)]
    labelled: list[Document] = []
    random_choices: list[Document] = []
    for _ in range(3):
        found = chosen(pool, "uncertainty", 10, labelled=labelled, share=0.2)
        labelled += [choice.document for choice in found]
        random_choices += [choice.document for choice in found if choice.reason == "random"]
    assert random_choices == alone[: len(random_choices)]
    assert len(random_choices) == 6


@given(count=st.integers(2, 20), known=st.integers(0, 4))
def test_k_center_radius_never_grows(count: int, known: int) -> None:
    pool, labelled = documents(20), documents(known, seed=1)
    choices = chosen(pool, "k-center", count, labelled=labelled, share=0)
    scores = [choice.score for choice in choices]
    assert scores == sorted(scores, reverse=True)
    places = vectors(pool)
    covered = list(labelled)
    for choice in choices:
        if covered:
            radius = nearest_distances(places, vectors(covered)).max()
            assert choice.score == pytest.approx(radius)
        covered.append(choice.document)


def test_k_means_selects_one_document_per_cluster() -> None:
    pool = documents(10)
    groups = np.eye(3)[[0] * 6 + [1] * 3 + [2]] + 0.01 * np.arange(10)[:, np.newaxis]
    places = dict(zip(texts_of(pool), groups, strict=True))
    choices = choose_by_vectors(pool, places, "k-means", 3)
    assert [choice.score for choice in choices] == [0.6, 0.3, 0.1]
    assert [places[text].argmax() for text in texts(choices)] == [0, 1, 2]


def test_k_means_with_duplicate_vectors_selects_each_document_once() -> None:
    pool = documents(9)
    places = dict(zip(texts_of(pool), np.eye(2)[np.arange(9) % 2], strict=True))
    choices = choose_by_vectors(pool, places, "k-means", 7)
    assert len(set(texts(choices))) == 7
    assert {places[text].argmax() for text in texts(choices)[:2]} == {0, 1}


def test_mixed_strategy_selects_a_near_duplicate_last() -> None:
    """Equal uncertainty and equal vectors: the first represents both."""
    pool = documents(6)
    places = dict(zip(texts_of(pool), np.eye(5)[[0, 0, 1, 2, 3, 4]], strict=True))
    scores = (0.2, 0.2, 0.5, 0.6, 0.7, 0.8)
    choices = choose_by_vectors(
        pool, places, "mixed", 6, [Prediction((), score, "v") for score in scores]
    )
    assert [places[text].argmax() for text in (texts(choices)[0], texts(choices)[-1])] == [0, 0]
    assert choices[0].reason == "unlike the rest"


def test_hand_computed_mixed_strategy() -> None:
    """Ranks: 0, 1/2 and 1 by uncertainty; by long entities, 1 for the second document alone."""
    pool = [Document(name, f"{name} acute renal failure") for name in ("sure", "long", "doubtful")]
    vectors = np.array([[0, 1], [1, 0], [0.6, 0.8]])
    long = Span(5, 24, "Disease", 0.2)
    predictions = [
        Prediction((), 0.9, "v"),
        Prediction((long,), 0.8, "v"),
        Prediction((), 0.7, "v"),
    ]
    places = dict(zip(texts_of(pool), vectors, strict=True))
    found = [
        (one.document.id, one.reason, one.score)
        for one in choose_by_vectors(pool, places, "mixed", 3, predictions)
    ]
    assert found == [
        (
            "long",
            "long entity",
            pytest.approx((1 / 2 + 1) / 2 * 1),
        ),  # at first, every document is diverse
        # Closer to "long" than "sure" is: diversity 1/2. Without long entities, it would be first.
        ("doubtful", "uncertain", pytest.approx((1 + 0) / 2 * 1 / 2)),
        ("sure", "unlike the rest", pytest.approx((0 + 0) / 2 * 1)),
    ]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("uncertainty", "uncertain"),
        ("margin", "uncertain"),
        ("least-confidence", "uncertain"),
        ("disagreement", "the two disagree"),
        ("k-means", "typical of many"),
        ("k-center", "unlike the rest"),
        ("long", "long entity"),
        ("random", "random"),
    ],
)
def test_every_choice_has_a_reason(name: str, reason: str) -> None:
    choices = chosen(documents(10), name, 5, share=0)
    assert {choice.reason for choice in choices} == {reason}
    scores = [choice.score for choice in choices if choice.score is not None]
    assert scores == sorted(scores, reverse=True)
    for rank, choice in enumerate(choices, start=1):
        line = json.loads(json.dumps(choice.to_json(rank), allow_nan=False))
        assert line["text"] == choice.document.text
        task = choice.to_task(rank, replace(DEFAULT_LABEL_CONFIG, data_key="a.body"))
        assert task["data"]["a"]["body"] == choice.document.text
        assert not {"annotations", "predictions"} & task.keys()


@pytest.mark.parametrize("numbers", [{"count": 0}, {"random_share": 1.1}, {"random_share": -0.1}])
def test_invalid_options(numbers) -> None:
    with pytest.raises(InputError):
        SelectionOptions(**numbers)


def test_ranks_are_shares_and_ties_share() -> None:
    assert percentile_rank([0.3, 9.0, 0.3, 1.0]).tolist() == [0.0, 1.0, 0.0, 2 / 3]
    assert percentile_rank([5.0]).tolist() == [0.0]


def test_excluded_documents_are_counted() -> None:
    pool = [
        Document("b", "Lithium."),
        Document("a", "LITHIUM. "),
        Document("c", "Naloxone"),
        Document("d", " \n"),
        Document("e", ""),
        Document("f", "clonidine"),
        Document("g", "Clonidine"),
    ]
    found = deduplicate_pool(pool, [Document("x", "naloxone")])
    assert sorted(one.id for one in found.documents) == ["a", "f"]
    assert (found.already_annotated, found.repeated_texts, found.without_words) == (1, 2, 2)
    assert deduplicate_pool(found.documents).documents == found.documents
