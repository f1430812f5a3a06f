"""Scores of the uncertainty strategies: confidence, margin, disagreement, long entities."""

import math

import numpy as np
import pytest

from tagalong.ner.document import Document, Prediction, Span
from tagalong.training.curate.encoder_outputs import TagDistribution
from tagalong.training.curate.pool import Pool
from tagalong.training.curate.uncertainty_strategies import (
    DOCUMENT_OVERHEAD_WORDS,
    disagreement_score,
    keep_labels,
    long_entity_uncertainty,
    margin_uncertainty,
    pick_by_least_confidence,
    pick_by_uncertainty,
)

TEXT = "acute renal failure after lithium"  # five words
LONG, DRUG = Span(0, 19, "Disease", 0.5), Span(26, 33, "Chemical", 0.9)


def predict(*spans: Span, sure: tuple[float, ...] = (), score: float = 0.5) -> Prediction:
    return Prediction(tuple(sorted(spans)), score, "v", tag_confidences=sure)


def opinion(*rows: tuple[float, ...]) -> TagDistribution:
    log_probs = np.log(np.array(rows))
    return TagDistribution(log_probs, log_probs.argmax(axis=1))


def test_margin_is_between_the_best_two_tags() -> None:
    assert margin_uncertainty(opinion((0.7, 0.2, 0.1), (0.5, 0.0001, 0.4999))) == pytest.approx(
        1 - (0.5 + 0.0001) / 2
    )
    assert margin_uncertainty(TagDistribution(np.zeros((0, 5)), np.zeros(0, np.intp))) == 0.0


def test_uncertainty_measures_by_word_and_by_document() -> None:
    """Four words at 0.9 have a higher joint probability than eight at 0.93, but a lower mean."""
    pool = Pool(
        [Document("short", "a b c d"), Document("long", "a b c d e f g h")],
        [predict(score=0.9), predict(score=0.93)],
    )
    assert [one.document.id for one in pick_by_uncertainty(pool, 2)] == ["short", "long"]
    assert [one.document.id for one in pick_by_least_confidence(pool, 2)] == ["long", "short"]
    assert pick_by_least_confidence(pool, 1)[0].score == pytest.approx(-8 * math.log(0.93))


@pytest.mark.parametrize(
    ("one", "other", "far"),
    [
        ((), (), 0.0),
        ((LONG, DRUG), (LONG, DRUG), 0.0),
        ((LONG,), (), 1.0),
        ((LONG,), (DRUG,), 1.0),
        ((LONG,), (Span(6, 19, "Disease"),), 0.5),
        ((LONG,), (Span(0, 19, "Chemical"),), 1.0),
        ((LONG, DRUG), (Span(6, 19, "Disease"), DRUG), 0.25),
    ],
)
def test_disagreement_on_a_boundary_counts_half(one, other, far: float) -> None:
    document = Document("d", TEXT)
    assert disagreement_score(document, predict(*one), predict(*other)) == pytest.approx(far)
    assert disagreement_score(document, predict(*other), predict(*one)) == pytest.approx(far)


def test_labels_of_only_one_model_are_no_disagreement() -> None:
    ours, theirs = keep_labels([predict(LONG, DRUG), predict(LONG)], ["Disease"])
    assert disagreement_score(Document("d", TEXT), ours, theirs) == 0.0


def per_100(doubt: float, words: int = 5) -> float:
    return 100 * doubt / (words + DOCUMENT_OVERHEAD_WORDS)


@pytest.mark.parametrize(
    ("prediction", "doubt"),
    [
        (predict(LONG, sure=(0.5, 0.5, 0.5, 1, 1)), 0.5),  # predicted with low confidence
        (predict(LONG, sure=(1, 1, 1, 1, 1)), 0.0),  # predicted with full confidence
        (
            predict(sure=(0.8, 0.8, 0.8, 1, 1)),
            0.2,
        ),  # suspected: three words with probable entity tags
        (predict(Span(0, 11, "Disease"), sure=(0.9, 0.9, 0.729, 1, 1)), 1 - 0.590490 ** (1 / 3)),
        (predict(DRUG, sure=(1, 1, 1, 1, 0.2)), 0.0),  # short
        (predict(sure=(0.8, 0.8, 1, 0.8, 0.8)), 0.0),  # apart
        (predict(LONG), 0.5),  # without tag confidences, the entity's score
        (predict(DRUG), 0.0),
        (predict(), 0.0),
    ],
)
def test_long_entity_score(prediction: Prediction, doubt: float) -> None:
    found = long_entity_uncertainty(Document("d", TEXT), prediction)
    assert found == pytest.approx(per_100(doubt))


def test_scores_are_normalized_by_length() -> None:
    sure = (0.5, 0.5, 0.5, 1, 1)
    longer = Document("d", TEXT + " in rats" * 50)
    one = long_entity_uncertainty(Document("d", TEXT), predict(LONG, sure=sure))
    assert long_entity_uncertainty(longer, predict(LONG, sure=sure + (1.0,) * 100)) < one / 2
